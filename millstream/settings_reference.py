"""The configuration reference, made from the settings themselves."""

from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from millstream.settings import Settings

_INTRODUCTION = """\
# Configuration

Every setting can be given as an environment variable, or in `millstream.toml` in the folder where a command runs
(another file with `MILLSTREAM_CONFIG`). The environment wins over the file, the file over the addresses of a local
stack that `millstream up` runs in the same folder, and those over the defaults. `millstream config show` prints what
is in force, with secrets masked. A wrong setting stops a command at once and is named in the error.

In the file, a group is a table:

```toml
[kafka]
bootstrap = "kafka-1:9092,kafka-2:9092"

[worker]
concurrency = 200
```

This page is made by `millstream config reference`.
"""


def reference() -> str:
    """The reference as Markdown."""
    parts = [_INTRODUCTION]
    general = []
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            title = field.description or name
            text = (group.__doc__ or "").strip().splitlines()[0]
            parts.append(f"## {title}\n\n{text}\n\n" + _table(group.model_fields, f"MILLSTREAM_{name.upper()}__", name))
        else:
            general.append(name)
    fields = {name: Settings.model_fields[name] for name in general}
    parts.append("## General\n\n" + _table(fields, "MILLSTREAM_", ""))
    return "\n".join(parts)


def _table(fields: dict[str, FieldInfo], prefix: str, group: str) -> str:
    lines = ["| setting | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in fields.items():
        setting = f"{group}.{name}" if group else name
        lines.append(f"| `{setting}` | `{prefix}{name.upper()}` | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if field.default_factory is not None:
        # What is worked out on the machine (host name, process id) has no one value to print.
        value = field.get_default(call_default_factory=True) if field.default_factory in (dict, list) else None
        return f"`{value}`" if value is not None else "of the machine"
    if isinstance(value, SecretStr) or value in ("", (), None):
        return "empty"
    if isinstance(value, tuple):
        return f"`{', '.join(map(str, value))}`"
    return f"`{value}`"
