"""What an operator names is not written: neither by the name of a field nor by what it looks like."""

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


def test_without_rules_it_is_false_and_changes_nothing() -> None:
    assert not Redaction()
    assert Redaction()("password=hunter2") == "password=hunter2"
    assert Redaction(["a"]) and Redaction(patterns=["a"])


@pytest.mark.parametrize(("pattern", "said"), [("(", "not a regular expression"), ("a*", "matches the empty text")])
def test_a_pattern_that_cannot_work_is_an_error_that_names_it(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Redaction(patterns=[pattern])


def test_a_long_hostile_text_takes_no_time() -> None:
    redact = Redaction(["password"], [r"\b\d{16}\b"])
    for text in ("password" * 20_000, "'" * 100_000, "password=" + "\\" * 100_000, "password: {" * 10_000):
        redact(text)
