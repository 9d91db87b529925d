"""Every fault on the wire against every operation: what comes out, how often the server is called, and when it ends."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator

import pytest

from airflow_provider_octospark.api import backoff as retrying
from airflow_provider_octospark.api import client
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.submission.rules import proves_nothing_sent
from tests.api.calls import CALLS, KEY
from tests.api.cells import LONG, SHORT, Result, run_cells
from tests.api.fault_table import PAGE, WRITE, render, rows_of
from tests.api.faults import FAULTS
from tests.api.leaks import leaks_of_error
from tests.api.resolver import own_resolver
from tests.sampling import IS_COMPLETE, sample

complete = pytest.mark.skipif(not IS_COMPLETE, reason="needs every cell: make test-more")

GRACE = 40.0
"""How much later than its budget a call may end on a machine that has a lot to do, in seconds."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Result]]:
    with pytest.MonkeyPatch.context() as patch, own_resolver() as strangers:
        # One repetition comes soon, a second one would come too late.
        patch.setattr(retrying, "FIRST_DELAY", 0.05)
        patch.setattr(retrying, "DELAY_GROWTH", 1e5)
        patch.setattr(retrying, "LONGEST_DELAY", 1e5)
        calls = [*(call for call in CALLS if call.submits), *sample([call for call in CALLS if not call.submits], 1)]
        yield run_cells(tmp_path_factory.mktemp("certificates"), calls=calls)
    assert strangers == [], "names outside these tests were looked up"


@complete
def test_every_fault_met_every_operation_in_both_colours(results: list[Result]) -> None:
    assert len({result.label for result in results}) == len(results) == 2 * len(FAULTS) * len(CALLS) >= 400


def test_nothing_but_our_own_errors_comes_out(results: list[Result]) -> None:
    strange = [result.label for result in results if not isinstance(result.error, OctosparkError | None)]
    assert strange == []


def test_what_is_harmless_succeeds_and_says_what_was_answered(results: list[Result]) -> None:
    harmless = [result for result in results if result.fault.harmless]
    assert [f"{result.label}: {result.gets}" for result in harmless if result.error is not None] == []
    right = [
        result
        for result in harmless
        if result.fault.title == "none: the right response" and result.call.make().response
    ]
    for result in right:
        adapter = result.call.make().response
        assert adapter is not None
        assert result.value == adapter.validate_python(result.call.good)


def test_no_submission_is_sent_twice(results: list[Result]) -> None:
    twice = [result.label for result in results if result.call.submits and result.requests > 1]
    assert twice == []
    assert any(result.requests > 1 for result in results), "nothing was ever repeated, so this shows nothing"


def test_a_submission_that_arrived_is_in_doubt_unless_it_was_refused(results: list[Result]) -> None:
    for result in results:
        if not result.call.submits or result.error is None:
            continue
        assert isinstance(result.error, OctosparkError)
        refused = result.error.status is not None and 400 <= result.error.status < 500
        refused = refused and result.error.status not in {408, 409}
        if result.requests:
            assert proves_nothing_sent(result.error) == refused, result.label
        if result.fault.group in {"connecting", "TLS"}:
            assert proves_nothing_sent(result.error), result.label


def test_nothing_hangs(results: list[Result]) -> None:
    for result in results:
        seconds = SHORT if result.fault.waits else LONG
        budget = 2 * seconds if result.call.submits else client.RETRY_BUDGET * seconds
        assert result.seconds < budget + GRACE, result.label


def test_what_never_answers_is_waited_for(results: list[Result]) -> None:
    for result in results:
        if result.fault.waits:
            assert result.seconds >= SHORT, result.label


def test_both_colours_behave_alike(results: list[Result]) -> None:
    for one, other in zip(results[::2], results[1::2], strict=True):
        assert (one.fault, one.call) == (other.fault, other.call)
        assert (one.gets, one.requests) == (other.gets, other.requests), one.label


def test_errors_say_what_was_tried_and_survive_a_process_boundary(results: list[Result]) -> None:
    for result in results:
        error = result.error
        if not isinstance(error, OctosparkError):
            continue
        operation = result.call.make()
        assert error.operation == operation.name
        assert error.target == operation.about
        assert str(error).startswith(f"{operation.name} ({operation.about}): "), result.label
        assert str(error).isprintable(), result.label
        assert len(str(error)) < 1000, result.label
        if result.fault.group == "status":
            assert error.status == int(result.fault.name)
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_no_error_shows_the_key(results: list[Result]) -> None:
    failed = [result for result in results if result.error is not None]
    each_kind = {(result.fault, result.call.submits, result.colour): result for result in failed}
    for result in each_kind.values():
        assert result.error is not None
        assert leaks_of_error(KEY, result.error) == [], result.label
    each_class = {(type(result.error), result.call.submits, result.colour): result for result in failed}
    for result in each_class.values():
        assert result.error is not None
        assert leaks_of_error(KEY, result.error, with_rich=True) == [], result.label


@complete
def test_the_page_in_the_documentation_is_true(results: list[Result]) -> None:
    page = render(results)
    if os.environ.get(WRITE):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page)
    assert rows_of(PAGE.read_text()) == rows_of(page), f"run again with {WRITE}=1"
