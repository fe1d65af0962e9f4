"""The restart backoff: longer after each short run, and short again after a stable one."""

from millstream.consumers.kafka.restart_backoff import RestartBackoff


def test_waits_double_up_to_the_longest_while_runs_end_soon() -> None:
    backoff = RestartBackoff(0.0, 0.25, 10.0, 10.0)
    assert [backoff.after(1.0) for _ in range(9)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_stable_run_resets_the_wait() -> None:
    backoff = RestartBackoff(0.1, 0.1, 10.0, 30.0)
    for _ in range(5):
        backoff.after(0.0)
    assert backoff.after(30.0) == 0.1
    assert backoff.after(0.0) == 0.1
