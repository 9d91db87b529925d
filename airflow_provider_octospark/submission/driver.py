"""Carry out the steps of the submission protocol for all posts of a task: read, write, send and wait.

What is done is decided in ``protocol.py``. The driver decides only how many posts are under way at once, and when a refused
request is repeated. It does not import Airflow and knows nothing of HTTP: a store, a client and a clock are handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from airflow_provider_octospark.api.backoff import LONGEST_DELAY, delay_after, is_transient
from airflow_provider_octospark.api.operations import Operation, get_post
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkRateLimitError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.submission import protocol
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.concurrency import ConcurrencyLimit
from airflow_provider_octospark.submission.journal import Journal
from airflow_provider_octospark.submission.opening import Opening, new_request
from airflow_provider_octospark.submission.records import Record, Target
from airflow_provider_octospark.submission.rules import (
    LEAVE_WITHIN,
    MAX_REFUSALS,
    Rules,
    Run,
    proves_nothing_sent,
)
from airflow_provider_octospark.submission.steps import (
    Conclusion,
    DecisionKey,
    Finish,
    LogLine,
    Observed,
    PollLater,
    PostState,
    Read,
    Refuse,
    Send,
    Step,
    Update,
)
from airflow_provider_octospark.submission.transitions import fenced, outcome_about, refused, with_response


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
class WaitUntil:
    """Nothing more can be done before ``time``."""

    time: datetime
    why: str


@dataclass
class _Post:
    """A post, and where the task stands with it.

    :param poll_at: when it is to be read again for a request in doubt.
    :param is_resolved: whether nothing of earlier tries is open; only then it takes a place among the posts under way.
    """

    team_id: str
    post_id: str
    announcements: list[Announcement] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    observed: Observed | None = None
    decisions: dict[DecisionKey, object] = field(default_factory=dict)
    was_read: bool = False
    poll_at: datetime | None = None
    is_resolved: bool = False
    is_finished: bool = False

    def forget_read(self) -> None:
        """Have the post read again before the next request."""
        self.observed = None
        self.decisions = {}


@dataclass
class Submission:
    """What one try submits. Make one for each try or resumption.

    :param announcements: what is to be submitted; no target may stand in two of them.
    :param journal: the task instance's record.
    :param log: the task's log.
    :param at_once: for a batch, the most requests under way at once; None (default) for one of each post.
    """

    announcements: Sequence[Announcement]
    journal: Journal
    api: Api
    clock: Clock
    rules: Rules
    run: Run
    log: Log
    at_once: int | None = None
    _concluded: dict[Target, Conclusion] = field(default_factory=dict, init=False)
    _posts: dict[tuple[str, str], _Post] = field(default_factory=dict, init=False)
    _halted: OctosparkError | None = field(default=None, init=False)
    _is_opened: bool = field(default=False, init=False)
    # What could not be read because the service limits the rate.
    _limited: list[tuple[_Post, OctosparkRateLimitError]] = field(default_factory=list, init=False)
    # How many rounds in a row no request got a response.
    _unanswered_rounds: int = field(default=0, init=False)
    _concurrency: ConcurrencyLimit = field(init=False)

    def __post_init__(self) -> None:
        self._concurrency = ConcurrencyLimit(self.at_once)

    # What became of it

    @property
    def notes(self) -> dict[Target, str]:
        """For every target in doubt, what a user should know and do."""
        return {key: each.note for key, each in self._concluded.items() if each.note is not None}

    @property
    def error(self) -> OctosparkError | None:
        """The first error that kept something from being sent, or None."""
        return next(self._errors(of_resubmissions=False), None)

    @property
    def resubmission_error(self) -> OctosparkError | None:
        """The first error that kept a submission from being repeated whose outcome stands, or None."""
        return next(self._errors(of_resubmissions=True), None)

    def _errors(self, *, of_resubmissions: bool) -> Iterator[OctosparkError]:
        for each in self._concluded.values():
            if each.error is not None and each.refuses_resubmission == of_resubmissions:
                yield each.error

    @property
    def is_skip(self) -> bool:
        """Whether nothing was sent because all of it was too late, and the task is to be skipped for that."""
        meant = self.rules.if_late == "skip" or (self.rules.skip_in_backfill and self.run.is_backfill)
        return meant and all(outcome.reason == "late" for outcome in self.outcomes())

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of every target, in the order of the announcements, as far as it is known.

        A target that is not announced any more follows if it is in doubt.
        """
        result = []
        announced = [record for announcement in self.announcements for record in announcement.unsent_records()]
        for unsent in announced:
            record = self.journal.records.get(unsent.key, unsent)
            concluded = self._concluded.get(unsent.key)
            known = concluded.outcome if concluded else record.outcome
            result.append(known or outcome_about(unsent, "pending", None))
        others = self._concluded.keys() - {unsent.key for unsent in announced}
        return result + [self._concluded[key].outcome for key in sorted(others)]

    # The rounds

    def advance(self) -> WaitUntil | list[Outcome]:
        """Do what can be done now. Call it again at the time of a :class:`WaitUntil`.

        :returns: the outcome of every target; see :meth:`outcomes`.
        :raises OctosparkAlreadySubmittedError: with ``if_already_submitted="fail"``.
        :raises OctosparkStateStoreError: if the record cannot be kept.
        """
        if not self._is_opened:
            self._is_opened = True
            if not self._open():
                return self.outcomes()
        self._report_progress()
        while True:
            self._resolve()
            next_poll = self._next_poll()
            if next_poll is not None and (self._unanswered_rounds or self.rules.if_already_submitted == "fail"):
                # With "fail" nothing is sent, and nothing raised, before all doubt is resolved.
                break
            sends = self._next_sends()
            if not sends and not self._limited:
                break
            self._send(sends)
        next_poll = self._next_poll()
        if next_poll is not None:
            self.log.info(
                "Whether a request was accepted is not known yet; polling again at %s. Until then no more of its post is sent.",
                next_poll.isoformat(timespec="seconds"),
            )
            return WaitUntil(next_poll, "a request may or may not have been accepted; looking for it")
        return self.outcomes()

    def _open(self) -> bool:
        """Take in the record; return whether anything may be done."""
        records = self.journal.records
        opening = Opening(self.announcements, dict(records), self.run, self.clock.now(), self.journal.decision)
        is_open = True
        if self.journal.problem is not None:
            is_open = opening.open_unreadable(self.journal.problem, self.journal.request_if_unreadable)
        else:
            opening.open(is_lost=self.journal.lost)
        self._write_log(opening.log)
        if opening.records and not opening.may_stay_unwritten:
            self.journal.put(opening.records)
        else:
            records.update({record.key: record for record in opening.records})
        self._concluded.update(opening.concluded)
        for announcement in self.announcements:
            post = self._posts.setdefault(announcement.post, _Post(announcement.team_id, announcement.post_id))
            post.announcements.append(announcement)
            post.targets += announcement.targets
        announced = {key for post in self._posts.values() for key in post.targets}
        for key, record in records.items():
            if key not in announced and record.state == "in_doubt":
                # A request that may have left is looked for, also where its target is not asked for any more.
                self._posts.setdefault(key[:2], _Post(record.team_id, record.post_id)).targets.append(key)
        # A resumption of this try goes on where the process before it was.
        self._unanswered_rounds = int(
            any(r.state == "in_doubt" and r.try_number == self.run.try_number for r in records.values())
        )
        for post in self._posts.values():
            known = [records[key] for key in post.targets if key in records]
            post.is_resolved = all(record.state == "unsent" for record in known)
        return is_open

    def _resolve(self) -> None:
        """Bring every post of which earlier tries sent something to a step that sends, waits or finishes."""
        steps = self._steps([post for post in self._posts.values() if not post.is_resolved and self._is_due(post)])
        refusals = [step.error for _, step in steps if isinstance(step, Refuse)]
        for post, step in steps:
            post.is_resolved = not isinstance(step, PollLater | Refuse)
        if refusals and self._next_poll() is None:
            if not self.notes:
                raise refusals[0]
            self._halted = self._halted or refusals[0]

    def _is_due(self, post: _Post) -> bool:
        return not post.is_finished and (post.poll_at is None or post.poll_at <= self.clock.now())

    def _next_poll(self) -> datetime | None:
        return min((post.poll_at for post in self._posts.values() if post.poll_at is not None), default=None)

    def _next_sends(self) -> list[tuple[_Post, Send]]:
        """Return the requests that leave together: one of each post, as many as the concurrency limit allows."""
        limit = self._concurrency.concurrency
        sends: list[tuple[_Post, Send]] = []
        waiting = [post for post in self._posts.values() if post.is_resolved and not post.is_finished]
        while waiting and (limit is None or len(sends) < limit):
            count = len(waiting) if limit is None else limit - len(sends)
            steps = self._steps(waiting[:count])
            waiting = waiting[count:]
            sends += [(post, step) for post, step in steps if isinstance(step, Send)]
        for post in waiting:
            # What it shows may be old when its turn comes.
            post.forget_read()
        return sends

    def _steps(self, posts: Sequence[_Post]) -> list[tuple[_Post, Step]]:
        """Read and write for posts until each has a step that sends, waits or finishes; return these steps."""
        result: dict[int, tuple[_Post, Step]] = {}
        pending = list(posts)
        while pending:
            now = self.clock.now()
            steps = [(post, protocol.next_step(self._state(post), self.rules, self.run, now)) for post in pending]
            self._update([step for _, step in steps if isinstance(step, Update)])
            self._read([(post, step) for post, step in steps if isinstance(step, Read)])
            for post, step in steps:
                match step:
                    case PollLater(at, log):
                        self._write_log(log)
                        post.poll_at, post.is_resolved = at, False
                        post.forget_read()
                    case Finish(log):
                        self._write_log(log)
                        post.is_finished, post.poll_at = True, None
                    case Send() | Refuse():
                        post.poll_at = None
                if not isinstance(step, Update | Read):
                    result[id(post)] = (post, step)
            limited = {id(post) for post, _ in self._limited}
            pending = [post for post in pending if id(post) not in result.keys() | limited]
        return [result[id(post)] for post in posts if id(post) in result]

    def _state(self, post: _Post) -> PostState:
        records = {key: self.journal.records[key] for key in post.targets if key in self.journal.records}
        return PostState(
            tuple(post.announcements),
            records,
            self._concluded,
            post.observed,
            post.decisions,
            post.was_read,
            self._halted,
        )

    def _update(self, updates: Sequence[Update]) -> None:
        for update in updates:
            self._write_log(update.log)
            self._concluded.update(update.concluded)
            self._halted = self._halted or update.halts
        records = [record for update in updates for record in update.records]
        if records:
            self.journal.put(records)

    def _read(self, reads: Sequence[tuple[_Post, Read]]) -> None:
        unread = [post for post, _ in reads if post.observed is None]
        asked_at = self.clock.now()
        responses = self.api.request_all([get_post(post.team_id, post.post_id) for post in unread]) if unread else []
        read_at = self.clock.now()
        for post, response in zip(unread, responses, strict=True):
            if self._is_to_repeat(post, response):
                self._limited.append((post, response))
            else:
                post.observed, post.was_read = Observed(response, asked_at, read_at), True
        for post, read in reads:
            for account, request in read.decisions:
                if (account, request) not in post.decisions:
                    post.decisions[account, request] = self.journal.decision(account, request)

    def _is_to_repeat(self, post: _Post, response: object) -> bool:
        """Whether a read of a batch is repeated: the service limits the rate, and the batch slows down for it."""
        return (
            self.at_once is not None
            and post.is_resolved
            and isinstance(response, OctosparkRateLimitError)
            and self._unanswered_rounds <= MAX_REFUSALS
            and delay_after(response, 1) <= LONGEST_DELAY
        )

    # Sending

    def _send(self, sends: Sequence[tuple[_Post, Send]]) -> None:
        """Send requests, and wait where the service wants a pause."""
        limited, self._limited = self._limited, []
        rejected: list[tuple[_Post, Send, OctosparkError]] = []
        before = {record.key: record for _, send in sends for record in send.records}
        is_answered = bool(sends) and self._submit(sends, rejected)
        self._unanswered_rounds = 0 if is_answered else self._unanswered_rounds + 1
        errors = [error for _, error in limited] + [error for _, _, error in rejected]
        if any(isinstance(error, OctosparkRateLimitError) for error in errors):
            self._concurrency.had_enough()
        elif is_answered:
            self._concurrency.went_well()
        repeated: list[OctosparkError] = [error for _, error in limited]
        if rejected:
            repeated += self._take_in_refusals(rejected, before)
        pauses = [delay_after(error, max(1, self._unanswered_rounds)) for error in repeated]
        for pause, error in zip(pauses, repeated, strict=True):
            self.log.warning("Not accepted, trying again in %.0f s: %s", pause, sanitize(error))
        if pauses:
            self.clock.sleep(max(pauses))
        self._report_progress()

    def _submit(self, sends: Sequence[tuple[_Post, Send]], rejected: list[tuple[_Post, Send, OctosparkError]]) -> bool:
        """Send requests and record the responses; return whether there was one.

        :param rejected: takes what was proven not to be accepted.
        """
        for _, send in sends:
            self._write_log(send.log)
        # Before the fence: a request that cannot be made is not in doubt.
        operations = [send.announcement.operation(send.accounts) for _, send in sends]
        now = self._fence([send for _, send in sends])
        # Whatever happens from here on until the response is written, the record says ``in_doubt``.
        results = self.api.submit_all(operations, now + LEAVE_WITHIN)
        answered: list[Record] = []
        for (post, send), result in zip(sends, results, strict=True):
            post.forget_read()
            if not isinstance(result, OctosparkError):
                answered += with_response([self.journal.records[each.key] for each in send.records], result, self.log)
            elif proves_nothing_sent(result):
                rejected.append((post, send, result))
            else:
                self.log.warning("Whether this was accepted is not known: %s", sanitize(result))
        if answered:
            self.journal.put_surely(answered)
        for post, send in sends:
            post.is_resolved = all(self.journal.records[each.key].state != "in_doubt" for each in send.records)
        return bool(answered)

    def _fence(self, sends: Sequence[Send]) -> datetime:
        """Write ``in_doubt`` for everything that is about to leave. A process that may not write may not send."""
        now = self.clock.now()
        records: list[Record] = []
        for send in sends:
            request = new_request()
            time_to_send = send.announcement.time_to_send
            records += [fenced(each, request, send.baseline, time_to_send, self.run, now) for each in send.records]
            self.log.info(
                "Submitting post %s to %s (request %s).",
                send.announcement.post_id,
                ", ".join(send.accounts),
                request,
            )
        self.journal.put(records)
        return now

    def _take_in_refusals(
        self, rejected: Sequence[tuple[_Post, Send, OctosparkError]], before: dict[Target, Record]
    ) -> list[OctosparkError]:
        """Lift the fence of requests that were not accepted, and give up on them unless they are worth repeating.

        :returns: the errors of those that are repeated.
        """
        fences = [self.journal.records[record.key] for _, send, _ in rejected for record in send.records]
        is_ours = self.journal.still_holds(fences)
        restored = [
            refused(before[each.key], self.journal.records[each.key], error)
            for _, send, error in rejected
            for each in send.records
        ]
        if is_ours:
            self.journal.put_surely(restored)
        repeated: list[OctosparkError] = []
        for post, send, error in rejected:
            post.is_resolved = True
            is_used_up = is_transient(error) and self._unanswered_rounds > MAX_REFUSALS
            delay = delay_after(error, 1)
            if is_ours and is_transient(error) and not is_used_up and delay <= LONGEST_DELAY:
                repeated.append(error)
                continue
            # Where another process has taken over this task instance, the record is not this one's to change.
            state = self._state(post) if is_ours else replace(self._state(post), records=before)
            update = protocol.give_up(
                state, send.announcement, error, self.rules, self.run, self.clock.now(), for_all=is_used_up
            )
            self._update([update])
        return repeated

    # The log

    def _write_log(self, lines: Iterable[LogLine]) -> None:
        for line in lines:
            getattr(self.log, line.level)("%s", line.message)

    def _report_progress(self) -> None:
        targets = sum(len(announcement.targets) for announcement in self.announcements)
        self._concurrency.report(self.log, self.clock.now(), targets, self._count_left)

    def _count_left(self) -> int:
        now = self.clock.now()
        return sum(protocol.count_left(self._state(post), self.rules, self.run, now) for post in self._posts.values())
