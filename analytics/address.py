"""The address of ClickHouse's HTTP interface, checked without importing the client, which the settings do not need."""

from urllib.parse import urlsplit


def http_address(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of ClickHouse's HTTP interface. Raises `ValueError` when `url` is not such an address."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not an address of ClickHouse's HTTP interface, such as http://localhost:8123")
    return parts.scheme, parts.hostname, parts.port or (8443 if parts.scheme == "https" else 8123)
