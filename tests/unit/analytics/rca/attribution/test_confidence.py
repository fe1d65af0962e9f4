"""Confidence: a probability that rises with the lead over the runner-up and with the height above chance."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.analytics.rca.attribution.confidence import confidence

nats = st.floats(0, 10_000)


@given(nats, nats, nats)
def test_confidence_is_a_probability(score: float, runner_up: float, bar: float) -> None:
    assert 0 <= confidence(score, runner_up, bar) <= 1


@given(nats, nats, nats, st.floats(0, 1000))
def test_a_larger_lead_and_a_lower_bar_never_lower_it(score: float, runner_up: float, bar: float, less: float) -> None:
    base = confidence(score, runner_up, bar)
    assert confidence(score, max(0.0, runner_up - less), bar) >= base
    assert confidence(score, runner_up, max(0.0, bar - less)) >= base


def test_a_clear_cause_is_likely_and_one_at_the_height_of_noise_is_not() -> None:
    assert confidence(500, 20, 10) > 0.9
    assert confidence(10, 9.9, 10) < 0.5
