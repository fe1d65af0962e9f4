"""Members, each of a group of its own, that leave about when an assignment arrives; a program, because a client that
freezes would freeze the tests. Arguments: the address of a broker, a topic, and how many times each member joins."""

import random
import sys
import time
from functools import partial

from confluent_kafka import Consumer

from millstream.consumers.kafka.frozen_process import run_or_exit
from millstream.consumers.kafka.membership import Membership, give_up
from millstream.schemas import KafkaConnection
from millstream.schemas.ids import new_id

MEMBERS = 120
FIRST_ASSIGNMENT_S = 3.0
"""The broker waits this long for more members of a new group."""


def join_and_leave(bootstrap: str, topic: str, times: int, number: int) -> None:
    """Join, do not poll, and leave shortly before or after the assignment arrives."""
    dice = random.Random(number)
    for _ in range(times):
        settings = KafkaConnection(bootstrap).quiet.consumer(
            f"leaving-{new_id()}", partition_assignment_strategy="cooperative-sticky"
        )
        member = Membership(Consumer(settings))
        member.join([topic], on_assign=Consumer.incremental_assign, on_revoke=give_up, on_lost=give_up)
        time.sleep(FIRST_ASSIGNMENT_S + dice.uniform(-0.2, 1.2))
        member.leave()


if __name__ == "__main__":
    bootstrap, topic, times = sys.argv[1:]
    members = [partial(join_and_leave, bootstrap, topic, int(times), number) for number in range(MEMBERS)]
    run_or_exit(members)
