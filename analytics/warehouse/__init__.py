"""The ClickHouse schema: migrations, views, retention, and checks of the tables."""
