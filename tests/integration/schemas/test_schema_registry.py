"""Schema ids from a Schema Registry: what is written with them is read with them."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from millstream.local.ports import free_port
from millstream.schemas import Codec, ConfluentRegistry, DecodeError, JobRequest, RegistryUnavailable, RequestReader
from millstream.schemas.codec import schema_id_of

pytest.importorskip("confluent_kafka.schema_registry", reason="needs millstream[schema-registry]")


class RegistryHandler(BaseHTTPRequestHandler):
    """The two calls of the Schema Registry's HTTP interface that are used: register a schema, and get one by id."""

    schemas: dict[int, str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {text: schema_id for schema_id, text in self.schemas.items()}
        schema_id = known.get(body["schema"]) or 4_000 + len(self.schemas)
        self.schemas[schema_id] = body["schema"]
        self._answer(200, {"id": schema_id})

    def do_GET(self) -> None:
        schema_id = int(self.path.split("/ids/")[1].partition("?")[0])
        if self.path.startswith("/failing"):
            self._answer(503, {"error_code": 50003, "message": "Error while forwarding the request"})
        elif schema_id in self.schemas:
            self._answer(200, {"schema": self.schemas[schema_id]})
        else:
            self._answer(404, {"error_code": 40403, "message": "Schema not found"})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def registry_url() -> Iterator[str]:
    handler = type("Handler", (RegistryHandler,), {"schemas": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_request_written_with_the_registrys_id_is_read_by_another_process(registry_url: str) -> None:
    writer, reader = (Codec(ConfluentRegistry({"url": registry_url})) for _ in range(2))
    request = JobRequest(tenant="acme", job_type="a.b", payload=b"{}")
    written = writer.encode(request)
    assert schema_id_of(written) >= 4_000
    assert reader.decode(written, JobRequest) == request
    assert RequestReader(reader).read(written).request == request


@pytest.mark.parametrize(
    "schema", ['"string"', "no json", '{"type": "record", "name": "x", "fields": [{"name": "y"}]}']
)
def test_an_id_of_something_else_than_a_record_is_a_decode_error(registry_url: str, schema: str) -> None:
    httpx.post(f"{registry_url}/subjects/x/versions", json={"schema": schema})
    with pytest.raises(DecodeError, match="schema id 4000"):
        Codec(ConfluentRegistry({"url": registry_url})).decode(b"\0\0\0\x0f\xa0...", JobRequest)


def test_an_unavailable_or_failing_registry_rejects_no_record(registry_url: str) -> None:
    pinned = Codec().encode(JobRequest(tenant="acme", job_type="a.b"))
    for url in (f"{registry_url}/failing", f"http://127.0.0.1:{free_port()}"):
        codec = Codec(ConfluentRegistry({"url": url, "max.retries": 0}))
        with pytest.raises(RegistryUnavailable, match="schema id 1"):
            codec.decode(pinned, JobRequest)


def test_what_cannot_be_registered_is_not_written() -> None:
    codec = Codec(ConfluentRegistry({"url": f"http://127.0.0.1:{free_port()}", "max.retries": 0}))
    with pytest.raises(RegistryUnavailable, match="the id of JobRequest"):
        codec.encode(JobRequest(tenant="acme", job_type="a.b"))


def test_an_id_that_the_registry_does_not_know_is_a_decode_error_once_a_follower_would_know_it(
    registry_url: str,
) -> None:
    pinned = Codec().encode(JobRequest(tenant="acme", job_type="a.b"))
    with pytest.raises(RegistryUnavailable, match="schema id 1"):
        Codec(ConfluentRegistry({"url": registry_url})).decode(pinned, JobRequest)
    codec = Codec(ConfluentRegistry({"url": registry_url}, follows_within_s=0.0))
    with pytest.raises(DecodeError, match="schema id 1"):
        codec.decode(pinned, JobRequest)
