"""What each service and command must be allowed to do on Kafka: the table, and what the brokers say of a user."""
