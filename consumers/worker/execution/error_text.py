"""The text of an error without the input that pydantic repeats in its own: a payload is no part of an error message."""

import re

# As pydantic ends the line of a problem; the input is its repr, so it is on that line.
_BEGINNING = re.compile(r"\[type=\w+(?=, input_value=)")
_END = ", input_type="


def without_input(text: str) -> str:
    """A message or stack in which each validation problem keeps its field, its explanation and its type. Takes linear
    time: a handler may repeat a payload of a megabyte."""
    if "input_value=" not in text:
        return text
    return "\n".join(map(_line_without_input, text.split("\n")))


def _line_without_input(line: str) -> str:
    found = _BEGINNING.search(line)
    if not found:
        return line
    # Whatever the input itself holds, the last end is that of the problem.
    end = line.rfind(_END, found.end())
    close = line.find("]", end) if end >= 0 else -1
    return f"{line[: found.end()]}]{line[close + 1 :] if close >= 0 else ''}"
