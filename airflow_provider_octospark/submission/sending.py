"""Send requests once: write the fence, send, and record the responses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.submission.journal import Journal
from airflow_provider_octospark.submission.opening import new_request
from airflow_provider_octospark.submission.records import Record
from airflow_provider_octospark.submission.rules import LEAVE_WITHIN, Run, proves_nothing_sent
from airflow_provider_octospark.submission.steps import Send
from airflow_provider_octospark.submission.transitions import fenced, refused, with_response


class Api(Protocol):
    """What the driver needs of a client: several requests at once, with errors as values."""

    def request_all(self, operations: Iterable[Operation[Any]]) -> list[Any]:
        """Send safe operations."""

    def submit_all(self, operations: Iterable[Operation[Any]], leave_by: datetime) -> list[Any]:
        """Send submissions, each once, on a connection of its own, none of them later than ``leave_by``."""


class Clock(Protocol):
    """Our own time."""

    def now(self) -> datetime:
        """Return aware UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True)
class Sent:
    """The results of requests that were sent together.

    :param is_answered: whether the service accepted one of them.
    :param rejected: the errors of those that are proven not to be accepted, by the ``id()`` of their :class:`Send`.
    :param is_ours: whether the record of those was restored. If not, another process has taken over the task instance.
    """

    is_answered: bool
    rejected: Mapping[int, OctosparkError]
    is_ours: bool = True


class Sender:
    """Send the requests of one task instance.

    :param journal: the task instance's record.
    :param api: a client.
    :param clock: our own clock.
    :param run: the facts about the task instance and this try.
    :param log: the task's log.
    :param refusal: returns why nothing may be sent now, or None. It is asked before the fence is written, and again
        before the request leaves, because writing takes time.
    """

    def __init__(
        self,
        journal: Journal,
        api: Api,
        clock: Clock,
        run: Run,
        log: Log,
        refusal: Callable[[], OctosparkError | None],
    ) -> None:
        self._journal = journal
        self._api = api
        self._clock = clock
        self._run = run
        self._log = log
        self._refusal = refusal

    def send(self, sends: Sequence[Send]) -> Sent:
        """Send requests together, each once.

        :raises OctosparkStateStoreError: if a fence or a response cannot be written. A process that may not write may not
            send.
        """
        if not sends:
            return Sent(False, {})
        if (error := self._refusal()) is not None:
            return Sent(False, {id(send): error for send in sends})
        # Before the fence: a request that cannot be made is not in doubt.
        operations = [send.announcement.operation(send.accounts) for send in sends]
        now = self._fence(sends)
        # Whatever happens from here on until the response is written, the record says ``in_doubt``.
        halted = self._refusal()
        results = self._api.submit_all(operations, now + LEAVE_WITHIN) if halted is None else [halted] * len(sends)
        answered: list[Record] = []
        rejected: dict[int, OctosparkError] = {}
        for send, result in zip(sends, results, strict=True):
            if not isinstance(result, OctosparkError):
                answered += with_response(self._current(send), result, self._log)
            elif proves_nothing_sent(result):
                rejected[id(send)] = result
            else:
                self._log.warning("It is not known whether this request was accepted: %s", sanitize(result))
        if answered:
            self._journal.put_surely(answered)
        is_ours = not rejected or self._restore([send for send in sends if id(send) in rejected], rejected)
        return Sent(bool(answered), rejected, is_ours)

    def _current(self, send: Send) -> list[Record]:
        return [self._journal.records[record.key] for record in send.records]

    def _fence(self, sends: Sequence[Send]) -> datetime:
        """Write ``in_doubt`` for everything that is about to leave; return when."""
        now = self._clock.now()
        records: list[Record] = []
        for send in sends:
            request = new_request()
            time_to_send = send.announcement.time_to_send
            records += [fenced(each, request, send.baseline, time_to_send, self._run, now) for each in send.records]
            self._log.info(
                "Submitting post %s to %s %s (request %s).",
                send.announcement.post_id,
                "account" if len(send.accounts) == 1 else "accounts",
                ", ".join(send.accounts),
                request,
            )
        self._journal.put(records)
        return now

    def _restore(self, sends: Sequence[Send], rejected: Mapping[int, OctosparkError]) -> bool:
        """Lift the fence of requests that were not accepted, unless another process has taken over the task instance."""
        if not self._journal.still_holds([record for send in sends for record in self._current(send)]):
            return False
        self._journal.put_surely(
            refused(before, current, rejected[id(send)])
            for send in sends
            for before, current in zip(send.records, self._current(send), strict=True)
        )
        return True
