"""What several tests share: brokers, processes, recorded events, and the guarantees as objects."""
