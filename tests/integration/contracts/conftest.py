"""The declared exceptions of each broker, and the clients that the contract is checked with."""

import pytest

EXCEPTIONS: dict[str, dict[str, str]] = {
    "kafka": {},
    "tansu": {
        "test_the_watermarks_are_the_first_offset_and_the_next_one": "the high watermark counts a batch as one record",
        "test_the_metadata_of_a_commit_is_kept": "a commit has no metadata",
        "test_the_metadata_of_offsets_sent_in_a_transaction_is_kept": "a commit has no metadata",
        "test_the_records_of_an_aborted_transaction_are_never_visible": (
            "read_committed readers see the records of aborted transactions"
        ),
        "test_a_new_producer_of_a_transactional_id_fences_the_old_one": "the old producer's commit times out",
    },
}
"""For each broker the tests that it does not pass, with what it does instead. Each of them has to fail."""


@pytest.fixture(autouse=True)
def declared_exceptions(request: pytest.FixtureRequest) -> None:
    """Expect the test to fail where the broker is known not to keep the contract, and report it when it passes."""
    callspec = getattr(request.node, "callspec", None)
    broker = callspec.params.get("any_broker") if callspec else None
    if reason := EXCEPTIONS.get(str(broker), {}).get(request.node.originalname):
        request.applymarker(pytest.mark.xfail(reason=f"{broker}: {reason}", strict=True))
