"""The text of an error without the input that pydantic repeats in its own: a payload is no part of an error message."""

import re

# As pydantic ends the line of a problem; the input is its repr, so it is on that line.
_INPUT = re.compile(r"\[type=(\w+), input_value=.*, input_type=[^\]\n]*\]")


def without_input(text: str) -> str:
    """A message or stack in which each validation problem keeps its field, its explanation and its type."""
    return _INPUT.sub(r"[type=\1]", text) if "input_value=" in text else text
