"""Compares the tables that ClickHouse fills by itself with the raw events."""
