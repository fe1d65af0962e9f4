"""What an operator names is not written: neither by the name of a field nor by what it looks like."""

import pickle
import sys
import time

import pytest

from millstream.redaction import REDACTED, Redaction

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "hunter2", "x": 1}',
        '{"PassWord" : "a hunter2 \\" b"}',
        "password=hunter2 x",
        "Password: hunter2, x",
        "{'password': ['hunter2', 'b']}",
        '{"password": {"old": "hunter2"}}',
        "a 'password': 'hunter2",
        '"json: {\\"password\\": \\"hunter2\\"}"',
        "KeyError: password='hunter2'",
        "first\npassword: hunter2\nlast",
    ],
)
def test_the_value_of_a_named_field_is_taken_out_however_it_is_written(text: str) -> None:
    found = Redaction(fields=["password"])(text)
    assert SECRET not in found and REDACTED in found


@pytest.mark.parametrize("text", ["passwordless: yes", "my_password=1", "the password was wrong", "", "password"])
def test_other_names_and_words_are_left_alone(text: str) -> None:
    assert Redaction(fields=["password"])(text) == text


def test_every_match_of_a_pattern_is_taken_out() -> None:
    redact = Redaction(patterns=[r"\b\d{16}\b", "sk_[a-z]+"])
    assert redact("card 4111111111111111 of sk_live 12") == f"card {REDACTED} of {REDACTED} 12"


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to postgresql://me:hunter2@db.example:5432/x",
        "https://hunter2@git.example/x.git: 403",
        "amqp://me:hun@hunter2@mq/",
        "'http://me:hunter2@host' and http://you:hunter2@host",
        "Unrecognized sasl.oauthbearer.config beginning at: token=hunter2 x=hunter2",
    ],
)
def test_credentials_in_an_address_are_taken_out_without_any_rule(text: str) -> None:
    found = Redaction()(text)
    assert SECRET not in found and REDACTED in found


@pytest.mark.parametrize("text", ["password=hunter2", "mail me@example.org", "http://host/a@b", "see http://host, a@b"])
def test_without_rules_nothing_else_is_changed(text: str) -> None:
    assert Redaction()(text) == text


def test_a_value_that_the_limit_of_a_text_cuts_in_two_is_found() -> None:
    redact = Redaction(patterns=[r"\b\d{16}\b"])
    assert redact.cut("x" * 10 + " 4111111111111111 more", 15) == "x" * 10 + " [red"
    assert redact.cut("short", 15) == "short"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "not a regular expression of RE2: missing"),
        (r"(?<=a)b", "not a regular expression of RE2: invalid perl operator"),
        (r"(a)\1", "not a regular expression of RE2"),
        ("a*", "matches the empty text"),
    ],
)
def test_a_pattern_that_cannot_work_is_an_error_that_names_it(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Redaction(patterns=[pattern])


def test_a_process_of_handlers_gets_the_same_rules() -> None:
    redact = pickle.loads(pickle.dumps(Redaction(["password"], ["sk_[a-z]+"], errors=True)))
    assert redact("password=hunter2 sk_live") == f"password={REDACTED} {REDACTED}"
    assert redact.errors


def test_without_re2_a_pattern_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ValueError, match=r"millstream\[redaction\]"):
        Redaction(patterns=["a"])
    assert Redaction(["password"])("password=x") == "password=[redacted]"


def test_a_text_that_utf8_does_not_have_is_redacted_too() -> None:
    redact = Redaction(patterns=["sk_[a-z]+"])
    assert redact("\ud800 sk_live") == f"\\ud800 {REDACTED}"
    assert redact("\ud800") == "\ud800"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000 + "!",
        "password" * 100_000,
        "'" * 1_000_000,
        "\\" * 1_000_000,
        "password=" + "\\" * 1_000_000,
        "password: {" * 100_000,
        "://" * 300_000 + "@",
        "://" + "a@" * 500_000,
        "password " * 100_000,
    ],
    ids=["pattern", "name", "quotes", "backslashes", "value", "braces", "addresses", "users", "spaces"],
)
def test_no_pattern_and_no_text_make_it_take_more_than_linear_time(text: str) -> None:
    """Each would take hours with a search that goes back."""
    redact = Redaction(["password"], [r"\b\d{16}\b", "(a+)+$"])
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 30
