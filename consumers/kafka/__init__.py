"""What every consumer needs of Kafka, knowing no job: group membership, offsets, transactions."""
