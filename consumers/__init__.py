"""Everything that reads with confluent-kafka."""
