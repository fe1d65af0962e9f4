"""The token function of tests: tokens that nobody signs, for the user that the environment names."""

import os

from tests.support.secured_broker import unsecured_token

USER = "MILLSTREAM_TEST_TOKEN_USER"


def token(config: str) -> tuple[str, float]:
    """A token of two minutes. `config` may name another user."""
    return unsecured_token(config or os.environ[USER], lasts_s=120)
