"""Generates a synthetic history inside ClickHouse."""
