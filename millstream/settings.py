"""Every setting of Millstream, from the environment, `millstream.toml` and a running local stack.

Precedence: arguments of a command, environment variables (`MILLSTREAM_KAFKA__BOOTSTRAP`), the configuration file
(`MILLSTREAM_CONFIG`, by default `millstream.toml` in the current folder), the addresses of a local stack that
`millstream up` started here, defaults.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from millstream.analytics.address import http_address
from millstream.consumers.sink import SinkConfig
from millstream.consumers.worker import WorkerConfig
from millstream.credentials import names_a_secret, shown_options, split_credentials
from millstream.redaction import Redaction
from millstream.schemas import Codec, ConfluentRegistry, KafkaConnection, PinnedRegistry, TopicCatalogue
from millstream.schemas.record import Name
from millstream.setting_names import PREFIX, nearest_setting, unknown_variables, variable_of
from millstream.streams.config import TrackerConfig


class InvalidSettings(ValueError):
    """A setting is wrong; the text names it, the variable that sets it and what is valid."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _without_credentials(address: str) -> str:
    if "@" in address:
        raise ValueError(
            "an address has no @ but that after user and password, and what they hold of / ? # @ is percent-encoded; "
            "brokers and trackers take none, there are settings for them"
        )
    return address


class KafkaSettings(_Group):
    """How to reach Kafka."""

    bootstrap: Annotated[str, AfterValidator(_without_credentials)] = Field(
        "127.0.0.1:9092", description="Addresses of the brokers, `host:port,host:port`."
    )
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        repr=False,
        description="librdkafka properties for every client, such as `security.protocol`.",
    )
    sasl_username: str = Field("", description="SASL user.")
    sasl_password: SecretStr = Field(SecretStr(""), description="SASL password.")
    oauth_token: str = Field(
        "",
        pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?$",
        description="Function that gives tokens for SASL's OAUTHBEARER, as `package.module:function`; it is called "
        "with `sasl.oauthbearer.config` and returns the token and when it expires, in seconds since 1970.",
    )

    @field_serializer("options", when_used="json")
    def _shown(self, options: dict[str, str | int | float | bool]) -> dict[str, object]:
        return shown_options(options)


def _lanes(lanes: tuple[str, ...]) -> tuple[str, ...]:
    TopicCatalogue(lanes=lanes)
    return lanes


class TopicSettings(_Group):
    """Names and sizes of the topics."""

    prefix: str = Field("millstream.", pattern=r"^[A-Za-z0-9._-]*$", description="Prefix of every topic name.")
    lanes: Annotated[tuple[Name, ...], AfterValidator(_lanes)] = Field(
        ("high", "default", "bulk"), min_length=1, description="Lanes, most urgent first."
    )
    partitions: int = Field(8, ge=1, description="Partitions of each lane and of the events.")
    replication: int = Field(-1, ge=-1, description="Replicas of each partition; -1 uses the broker's default.")
    retention_days: float = Field(7, gt=0, description="Days that requests and events are kept.")


def _split(given: Any) -> tuple[str, str, str]:
    """The address of a group without its user and password."""
    url = given.get("url") if isinstance(given, dict) else None
    return split_credentials(url) if isinstance(url, str) else ("", "", "")


def _http_address(url: str) -> str:
    http_address(_without_credentials(url))
    return url


class ClickHouseSettings(_Group):
    """How to reach ClickHouse. `user:password@` in the address is taken for user and password."""

    url: Annotated[str, AfterValidator(_http_address)] = Field(
        "http://127.0.0.1:8123", description="HTTP(S) address of ClickHouse."
    )
    user: str = Field("default", description="User.")
    password: SecretStr = Field(SecretStr(""), description="Password.")
    ca_file: str = Field(
        "", description="PEM file of the certificate authorities to trust over HTTPS; the system's if empty."
    )
    certificate_file: str = Field("", description="PEM file of the client certificate, if the server requires one.")
    key_file: str = Field("", description="PEM file of the certificate's key.")
    verify: bool = Field(True, description="Whether to verify the server's certificate.")
    connect_timeout_s: float = Field(5, gt=0, description="Connect timeout, in seconds.")
    query_timeout_s: float = Field(300, gt=0, description="Timeout of a query or an insert, in seconds.")
    database: str = Field("millstream", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Database of the tables.")
    cluster: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="Cluster, as named in the server's configuration, that holds the tables, replicated and sharded.",
    )
    raw_days: int = Field(90, ge=1, description="Days that events, attempts, jobs and heartbeats are kept.")
    rollup_days: int = Field(400, ge=1, description="Days that minute rollups, alerts and dead letters are kept.")

    @model_validator(mode="before")
    @classmethod
    def _credentials(cls, given: Any) -> Any:
        url, user, password = _split(given)
        return {"user": user, "password": password, **given, "url": url} if user else given


class SchemaRegistrySettings(_Group):
    """Where schema ids come from. `user:password@` in the address is taken for `basic_auth`."""

    url: Annotated[str, AfterValidator(_without_credentials)] = Field(
        "", description="Address of a Confluent Schema Registry; empty uses the ids pinned in the package."
    )
    basic_auth: SecretStr = Field(SecretStr(""), description="`user:password` for the registry.")

    @model_validator(mode="before")
    @classmethod
    def _credentials(cls, given: Any) -> Any:
        url, user, password = _split(given)
        return {"basic_auth": f"{user}:{password}", **given, "url": url} if user else given


def _patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    Redaction(patterns=patterns)
    return patterns


class RedactSettings(_Group):
    """What becomes `[redacted]` in messages, stacks and logs, as user and password in an address always do."""

    fields: tuple[str, ...] = Field(
        (), description="Names whose values are replaced, wherever a text has them as `name=value` or in JSON."
    )
    patterns: Annotated[tuple[str, ...], AfterValidator(_patterns)] = Field(
        (),
        description="Regular expressions in RE2's syntax, whose whole match is replaced. They need the extra "
        "`millstream[redaction]`.",
    )
    errors: bool = Field(
        False,
        description="Whether messages and stacks of failed handlers are left out of events, dead letters and logs; "
        "type and fingerprint of the error remain.",
    )


class Settings(BaseSettings):
    """All settings. `Settings()` reads them; `load()` raises errors that a user can read."""

    model_config = SettingsConfigDict(
        env_prefix="MILLSTREAM_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    kafka: KafkaSettings = Field(default_factory=KafkaSettings, description="Kafka")
    topics: TopicSettings = Field(default_factory=TopicSettings, description="Topics")
    schema_registry: SchemaRegistrySettings = Field(
        default_factory=SchemaRegistrySettings, description="Schema registry"
    )
    clickhouse: ClickHouseSettings = Field(default_factory=ClickHouseSettings, description="ClickHouse")
    redact: RedactSettings = Field(default_factory=RedactSettings, description="Redaction")
    worker: WorkerConfig = Field(default_factory=WorkerConfig, description="Worker")
    tracker: TrackerConfig = Field(default_factory=TrackerConfig, description="Tracker")
    sink: SinkConfig = Field(default_factory=SinkConfig, description="Sink")
    data: Path = Field(Path(".millstream"), description="Folder of the local stack: its data, logs and addresses.")
    log_format: str = Field(
        "auto",
        pattern="^(auto|console|json)$",
        description="Log format: console for people, json for machines; auto picks console on a terminal.",
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Lowest level that is logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = Path(os.environ.get("MILLSTREAM_CONFIG", "millstream.toml"))
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=file),
            LocalStackSource(settings_cls),
        )

    @property
    def connection(self) -> KafkaConnection:
        options = dict(self.kafka.options)
        if self.kafka.sasl_username:
            options |= {
                "sasl.username": self.kafka.sasl_username,
                "sasl.password": self.kafka.sasl_password.get_secret_value(),
            }
        if self.kafka.oauth_token and (here := str(Path.cwd())) not in sys.path:
            # As the modules of handlers are found.
            sys.path.insert(0, here)
        return KafkaConnection(self.kafka.bootstrap, options, self.kafka.oauth_token)

    @property
    def redaction(self) -> Redaction:
        return Redaction(self.redact.fields, self.redact.patterns, errors=self.redact.errors)

    @property
    def catalogue(self) -> TopicCatalogue:
        topics = self.topics
        return TopicCatalogue(topics.prefix, topics.lanes, topics.partitions, topics.retention_days)

    @property
    def codec(self) -> Codec:
        registry = self.schema_registry
        if not registry.url:
            # Imported here: most commands need no Kafka client to read their settings.
            from millstream.announced_schemas import AnnouncedSchemas

            return Codec(PinnedRegistry(AnnouncedSchemas(self.connection, self.catalogue).newest))
        options: dict[str, Any] = {"url": registry.url}
        if registry.basic_auth.get_secret_value():
            options["basic.auth.user.info"] = registry.basic_auth.get_secret_value()
        return Codec(ConfluentRegistry(options))


class LocalStackSource(PydanticBaseSettingsSource):
    """The addresses of the stack that `millstream up` currently runs in this folder."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        stack = running_stack(Path(os.environ.get("MILLSTREAM_DATA", ".millstream")))
        return stack["settings"] if stack else {}


def running_stack(folder: Path) -> dict[str, Any] | None:
    """The content of `stack.json` in the folder of a local stack; None unless the process that wrote it is alive."""
    try:
        stack: dict[str, Any] = json.loads((folder / "stack.json").read_text("utf-8"))
        os.kill(stack["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return stack


def setting_names() -> list[str]:
    """Every setting, such as `kafka.bootstrap` and `log_level`."""
    names = []
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        names += [f"{name}.{each}" for each in inner] if inner else [name]
    return names


def load() -> Settings:
    """Read the settings. Raises `InvalidSettings` with a line for each wrong setting."""
    wrong = [_unknown(name, name) for name in unknown_variables(os.environ, setting_names())]
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        wrong += [_problem(problem) for problem in error.errors()]
    except ValueError as error:
        raise InvalidSettings(f"millstream.toml: {error}") from error
    if settings is None or wrong:
        raise InvalidSettings("\n".join(wrong))
    return settings


def _problem(problem: Any) -> str:
    """A line for one of pydantic's errors. The value is left out where it may be a secret, or may have one in it."""
    path = [str(part) for part in problem["loc"]]
    setting, variable = ".".join(path), variable_of("__".join(path))
    if problem["type"] == "extra_forbidden":
        return _unknown(variable if variable in map(str.upper, os.environ) else setting, setting)
    value = "" if _may_be_secret(path, problem["input"]) else f" = {problem['input']!r}"
    return f"{setting}{value}: {problem['msg']} (set by {variable} or millstream.toml)"


def _unknown(written: str, setting: str) -> str:
    """A line for what is no setting. Its value may be a secret under a misspelled name, so it is not shown."""
    name = setting[len(PREFIX) :].replace("__", ".") if setting.upper().startswith(PREFIX) else setting
    near = nearest_setting(name, setting_names())
    if near is None:
        return f"{written}: there is no such setting"
    return f"{written}: there is no such setting; did you mean {near} ({variable_of(near)})?"


def _may_be_secret(path: list[str], value: object) -> bool:
    """Whether a wrong value is not to be shown: that of a secret or of what is named like one, a whole group, and what
    may hold a password."""
    group = getattr(Settings.model_fields.get(path[0]), "annotation", None)
    field = getattr(group, "model_fields", {}).get(path[1]) if len(path) > 1 else None
    return (
        path[:2] == ["kafka", "options"]
        or (len(path) == 1 and hasattr(group, "model_fields"))
        or getattr(field, "annotation", None) is SecretStr
        or names_a_secret(path[-1])
        or isinstance(value, Mapping)
        or "@" in str(value)
    )
