"""Apache Kafka as an operator secures it: TLS, passwords or tokens, and an authorizer that allows only what it is told.

One node. Users of SCRAM are made when its data folder is formatted. Two more listeners are for the tests alone: tokens
of OAUTHBEARER that nobody signs, and one in plain text whose anonymous user may do everything.
"""

import base64
import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from millstream.local.broker.apache import missing_for_apache
from millstream.local.broker.artifacts import kafka_jars
from millstream.local.broker.tansu import await_nodes
from millstream.local.ports import free_port
from millstream.local.process import ChildProcess
from millstream.schemas import KafkaConnection
from tests.support.certificates import Authority
from tests.support.waiting import until

START_WITHIN_S = 120.0
LASTS_S = 3600

LISTENERS = ("scram", "token", "tests")
SECURITY = "org.apache.kafka.common.security"
VALIDATOR = f"{SECURITY}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map=SCRAM:SASL_SSL,TOKEN:SASL_SSL,TESTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=TESTS
log.dirs={folder}/data

listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config={security}.scram.ScramLoginModule required;
listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.token.oauthbearer.sasl.jaas.config={security}.oauthbearer.OAuthBearerLoginModule required \\
  unsecuredLoginStringClaim_sub="broker";
listener.name.token.oauthbearer.sasl.server.callback.handler.class={validator}
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}

authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false

default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""

Right = tuple[str, str, str, str]
"""Kind of resource (topic, group, transactional-id, cluster), name, pattern (literal, prefixed) and operation."""

KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,
}


class SecuredBroker:
    """The running broker. Every user's password is `password(user)`."""

    def __init__(self, folder: Path, users: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._users = ("admin", *users)
        self.authority = Authority(folder / "authority")
        self._ports = {name: free_port() for name in (*LISTENERS, "controller")}
        self._process: ChildProcess | None = None

    @property
    def bootstrap(self) -> str:
        """The listener with SASL_SSL and SCRAM-SHA-512."""
        return f"127.0.0.1:{self._ports['scram']}"

    @property
    def token_bootstrap(self) -> str:
        """The listener with SASL_SSL and OAUTHBEARER."""
        return f"127.0.0.1:{self._ports['token']}"

    @property
    def unrestricted(self) -> KafkaConnection:
        """A connection that may do everything, for what a test itself does."""
        return KafkaConnection(f"127.0.0.1:{self._ports['tests']}")

    @staticmethod
    def password(user: str) -> str:
        return f"{user}-password"

    def environment(self, user: str) -> dict[str, str]:
        """Settings of Millstream that connect as this user, as environment variables."""
        return {
            "MILLSTREAM_KAFKA__BOOTSTRAP": self.bootstrap,
            "MILLSTREAM_KAFKA__OPTIONS": json.dumps(
                {
                    "security.protocol": "SASL_SSL",
                    "sasl.mechanism": "SCRAM-SHA-512",
                    "ssl.ca.location": str(self.authority.ca_file),
                }
            ),
            "MILLSTREAM_KAFKA__SASL_USERNAME": user,
            "MILLSTREAM_KAFKA__SASL_PASSWORD": self.password(user),
        }

    def connection(self, user: str, password: str | None = None) -> KafkaConnection:
        """A connection of this user."""
        return KafkaConnection(
            self.bootstrap,
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "ssl.ca.location": str(self.authority.ca_file),
                "sasl.username": user,
                "sasl.password": password or self.password(user),
            },
        )

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        """Give rights; returns when the broker has them."""
        bindings = {_binding(user, right) for right in rights}
        for done in self._admin.create_acls(list(bindings)).values():
            done.result(30)
        until(lambda: bindings <= self._rights_of(user))

    def take(self, user: str, rights: Iterable[Right]) -> None:
        """Take rights away; returns when the broker has forgotten them."""
        bindings = {_binding(user, right) for right in rights}
        for done in self._admin.delete_acls([_filter(each) for each in bindings]).values():
            done.result(30)
        until(lambda: not bindings & self._rights_of(user))

    def _rights_of(self, user: str) -> set[AclBinding]:
        """What the broker itself allows the user: it learns what was changed a moment after the controller."""
        return set(self._admin.describe_acls(_filter_of(user)).result(30))

    def start(self) -> None:
        """Raises `DidNotStart`."""
        jars = kafka_jars(lambda _: None)
        certificate, key = self.authority.issue("broker")
        keystore = self._folder / "keystore.pem"
        keystore.write_text(key.read_text("utf-8") + certificate.read_text("utf-8"), "utf-8")
        properties = self._folder / "server.properties"
        text = PROPERTIES.format(
            folder=self._folder,
            keystore=keystore,
            truststore=self.authority.ca_file,
            listeners=",".join(f"{each.upper()}://127.0.0.1:{self._ports[each]}" for each in LISTENERS),
            controller=self._ports["controller"],
            security=SECURITY,
            validator=VALIDATOR,
        )
        properties.write_text(text, "utf-8")
        classpath = f"{jars}/*"
        scram = [
            part
            for user in self._users
            for part in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={self.password(user)},iterations=4096]")
        ]
        subprocess.run(
            [
                *("java", "-Xmx128m", "-cp", classpath, "kafka.tools.StorageTool", "format"),
                *("-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", str(properties), *scram),
            ],
            check=True,
            capture_output=True,
        )
        self._process = ChildProcess(
            ["java", "-Xms256m", "-Xmx400m", "-XX:+UseSerialGC", "-cp", classpath, "kafka.Kafka", str(properties)],
            log=self._folder / "kafka.log",
        )
        self._process.start()
        await_nodes(self.unrestricted.bootstrap, 1, self._process, START_WITHIN_S)

    def stop(self) -> None:
        if self._process is not None and self._process.is_alive():
            # Its data is of no use to anybody.
            self._process.kill()

    @cached_property
    def _admin(self) -> AdminClient:
        # Kept: a client that is dropped ends its requests.
        return AdminClient(self.unrestricted.client())


def secured(folder: Path, users: Iterable[str]) -> Iterator[SecuredBroker]:
    """A running broker, or a skipped test."""
    if reason := missing_for_apache():
        pytest.skip(f"needs Apache Kafka: {reason}")
    broker = SecuredBroker(folder, users)
    broker.start()
    yield broker
    broker.stop()


def unsecured_token(user: str, lasts_s: float = LASTS_S) -> tuple[str, float]:
    """A token that nobody has signed, and when it expires, in seconds since 1970."""
    now = time.time()
    claims = {"sub": user, "iat": now, "exp": now + lasts_s}
    return f"{_part({'alg': 'none'})}.{_part(claims)}.", now + lasts_s


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _filter(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )


def _filter_of(user: str) -> AclBindingFilter:
    anything: Any = None
    return AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        f"User:{user}",
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _binding(user: str, right: Right) -> AclBinding:
    kind, name, pattern, operation = right
    return AclBinding(
        KINDS[kind],
        name,
        ResourcePatternType[pattern.upper()],
        f"User:{user}",
        "*",
        AclOperation[operation.upper()],
        AclPermissionType.ALLOW,
    )
