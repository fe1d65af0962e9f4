"""Records that no Python client can write: librdkafka itself, which takes any bytes."""

import ctypes
from collections.abc import Mapping
from pathlib import Path

import confluent_kafka

_TOPIC, _VALUE, _KEY, _FLAGS, _HEADERS, _END = 1, 4, 5, 7, 10, 0
_COPY = 2


def produce_raw(bootstrap: str, topic: str, value: bytes, key: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Write a record whose headers have names of any bytes."""
    (library,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*")
    kafka = ctypes.CDLL(str(library))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(kafka, name).restype = ctypes.c_void_p
    error = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(kafka.rd_kafka_conf_new())
    kafka.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap.encode(), error, 512)
    producer = ctypes.c_void_p(kafka.rd_kafka_new(0, conf, error, 512))
    made = ctypes.c_void_p(kafka.rd_kafka_headers_new(ctypes.c_size_t(len(headers))))
    for header, content in headers.items():
        kafka.rd_kafka_header_add(made, header, ctypes.c_ssize_t(len(header)), content, ctypes.c_ssize_t(len(content)))
    failed = kafka.rd_kafka_producev(
        producer,
        *(ctypes.c_int(_TOPIC), ctypes.c_char_p(topic.encode())),
        *(ctypes.c_int(_FLAGS), ctypes.c_int(_COPY)),
        *(ctypes.c_int(_VALUE), ctypes.c_char_p(value), ctypes.c_size_t(len(value))),
        *(ctypes.c_int(_KEY), ctypes.c_char_p(key), ctypes.c_size_t(len(key))),
        *(ctypes.c_int(_HEADERS), made),
        ctypes.c_int(_END),
    )
    assert not failed, failed
    assert not kafka.rd_kafka_flush(producer, 30_000)
    kafka.rd_kafka_destroy(producer)
