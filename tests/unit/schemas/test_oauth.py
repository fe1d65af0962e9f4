"""The function that gives tokens is found by its path, or the error says why not."""

import pickle
import time

import pytest

from millstream.schemas import KafkaConnection
from millstream.schemas.connection import for_another_process
from millstream.schemas.oauth import InvalidTokenFunction, token_function

TOKENS = "tests.support.tokens:token"


def test_every_client_logs_in_with_the_function() -> None:
    connection = KafkaConnection("b:1", {"security.protocol": "SASL_SSL"}, TOKENS)
    for settings in (connection.client(), connection.producer(), connection.consumer("g"), connection.quiet.client()):
        assert settings["sasl.mechanism"] == "OAUTHBEARER"
        token, expires_at = settings["oauth_cb"]("alice")
        assert token.count(".") == 2 and expires_at > time.time()


def test_another_process_gets_the_function_too() -> None:
    connection = KafkaConnection("b:1", {}, TOKENS)
    sent = pickle.loads(pickle.dumps(for_another_process(connection.client())))
    assert sent["oauth_cb"] is token_function(TOKENS)


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("nowhere", "is not package.module:function"),
        ("no.such.module:token", "ModuleNotFoundError"),
        ("time:no_such_function", "AttributeError"),
        ("time:timezone", "is no function"),
    ],
)
def test_a_path_that_leads_to_no_function_is_an_error_that_says_why(path: str, cause: str) -> None:
    with pytest.raises(InvalidTokenFunction, match=cause):
        KafkaConnection("b:1", {}, path).client()
