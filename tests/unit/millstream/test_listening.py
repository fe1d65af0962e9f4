"""Who may ask a server of a service: whoever has the token; on loopback any program, and no web page."""

import socket

import pytest

from millstream.listening import HttpGuard, PortTaken, UnprotectedListener, is_loopback, require_port

SETTINGS = ("worker.health_host", "worker.metrics_token", "worker.metrics_open")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_what_only_this_machine_reaches_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert HttpGuard(host, "", settings=SETTINGS).refusal({"Host": "localhost"}) is None


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "worker-1", "127.0.0.1.example.org", "localhost."])
def test_what_others_reach_needs_a_token_or_an_explicit_yes_and_the_error_names_both(host: str) -> None:
    with pytest.raises(UnprotectedListener, match=r"worker\.metrics_token.*worker\.metrics_open.*127\.0\.0\.1"):
        HttpGuard(host, "", settings=SETTINGS)
    HttpGuard(host, "t", settings=SETTINGS)
    assert HttpGuard(host, "", is_open=True, settings=SETTINGS).refusal({"Host": "anything"}) is None


def test_an_address_beyond_loopback_is_asked_by_any_name() -> None:
    guard = HttpGuard("0.0.0.0", "t", settings=SETTINGS)
    assert guard.refusal({"Host": "tracker:6066", "Authorization": "Bearer t"}) is None
    assert guard.refusal({"Host": "tracker:6066"}) is not None
    assert guard.refusal({"Host": "tracker:6066"}, is_probe=True) is None


@pytest.mark.parametrize("given", ["", "t", "Bearer", "Bearer  t", "bearer t", "Bearer t ", "Basic t", "Bearer 💥"])
def test_only_the_very_token_is_accepted(given: str) -> None:
    refused = HttpGuard("127.0.0.1", "t", settings=SETTINGS).refusal({"Authorization": given})
    assert refused is not None and refused[0] == 401


@pytest.mark.parametrize("host", ["example.org", "[", "[::1", "127.0.0.1@example.org", "", "localhost.example.org"])
def test_a_name_of_elsewhere_and_a_broken_one_are_refused(host: str) -> None:
    refused = HttpGuard("127.0.0.1", "", settings=SETTINGS).refusal({"Host": host})
    assert refused is not None and refused[0] == 403


def test_a_taken_port_is_named_with_its_settings() -> None:
    settings = ("tracker.host", "tracker.port")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"tracker.port: 127.0.0.1:{port}"):
            require_port(settings, "127.0.0.1", port)
    require_port(settings, "127.0.0.1", port)
    require_port(settings, "127.0.0.1", 0)
