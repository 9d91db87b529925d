"""Carry out the steps of the submission protocol for all posts of a task: read, write, send and wait.

What is done is decided in ``protocol.py``. The driver decides only how many posts are under way at once, and when a refused
request is repeated. It does not import Airflow and knows nothing of HTTP: a store, a client and a clock are handed in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from airflow_provider_octospark.api.backoff import LONGEST_DELAY, delay_after, is_transient
from airflow_provider_octospark.api.operations import get_post
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkRateLimitError, OctosparkStateStoreError
from airflow_provider_octospark.submission import protocol
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.concurrency import ConcurrencyLimit
from airflow_provider_octospark.submission.journal import Journal
from airflow_provider_octospark.submission.messages import write_log
from airflow_provider_octospark.submission.opening import Opening
from airflow_provider_octospark.submission.records import Record, Target
from airflow_provider_octospark.submission.refused_accounts import explain_refusals
from airflow_provider_octospark.submission.results import Results, results_of
from airflow_provider_octospark.submission.rules import (
    MAX_REFUSALS,
    Rules,
    Run,
)
from airflow_provider_octospark.submission.sending import Api, Clock, Sender
from airflow_provider_octospark.submission.steps import (
    Conclusion,
    DecisionKey,
    FindRun,
    Finish,
    Observed,
    PollLater,
    PostState,
    Read,
    Refuse,
    Send,
    Step,
    Update,
)


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

    def is_due(self, now: datetime) -> bool:
        """Whether the next step may be asked for."""
        return not self.is_finished and (self.poll_at is None or self.poll_at <= now)

    def forget_read(self) -> None:
        """Have the post read again before the next request."""
        self.observed = None
        self.decisions = {}


def _posts_of(announcements: Sequence[Announcement], records: Mapping[Target, Record]) -> dict[tuple[str, str], _Post]:
    """Return the posts that are announced, or of which a request is in doubt."""
    posts: dict[tuple[str, str], _Post] = {}
    for announcement in announcements:
        post = posts.setdefault(announcement.post, _Post(announcement.team_id, announcement.post_id))
        post.announcements.append(announcement)
        post.targets += announcement.targets
    announced = {key for post in posts.values() for key in post.targets}
    for key, record in records.items():
        if key not in announced and record.state == "in_doubt":
            # Its request may have left, although its target is not asked for any more.
            posts.setdefault(key[:2], _Post(record.team_id, record.post_id)).targets.append(key)
    for post in posts.values():
        post.is_resolved = all(records[key].state == "unsent" for key in post.targets if key in records)
    return posts


def _is_rate_limit(response: object, rounds: int) -> bool:
    """Whether a read is refused by a rate limit that passes in this try."""
    return (
        isinstance(response, OctosparkRateLimitError)
        and rounds <= MAX_REFUSALS
        and delay_after(response, 1) <= LONGEST_DELAY
    )


@dataclass
class Submission:
    """What one try submits. Make one for each try or resumption.

    :param announcements: what is to be submitted; no target may stand in two of them.
    :param journal: the task instance's record.
    :param log: the task's log.
    :param at_once: for a batch, the most requests under way at once; None (default) for one of each post.
    :param refusal: returns why nothing may be sent now, or None; asked before every fence (default: nothing is refused).
    :param run_of: returns the other run of the DAG that reports a submission, by its id; None (default) if none is known.

    ``_unanswered_rounds`` counts the rounds in a row in which no request got a response.
    """

    announcements: Sequence[Announcement]
    journal: Journal
    api: Api
    clock: Clock
    rules: Rules
    run: Run
    log: Log
    at_once: int | None = None
    refusal: Callable[[], OctosparkError | None] = lambda: None
    run_of: Callable[[str], str | None] = lambda _: None
    _concluded: dict[Target, Conclusion] = field(default_factory=dict, init=False)
    _posts: dict[tuple[str, str], _Post] = field(default_factory=dict, init=False)
    _halted: OctosparkError | None = field(default=None, init=False)
    _runs: dict[str, str | None] = field(default_factory=dict, init=False)
    _is_opened: bool = field(default=False, init=False)
    # What could not be read because the service limits the rate.
    _limited: list[tuple[_Post, OctosparkRateLimitError]] = field(default_factory=list, init=False)
    _unanswered_rounds: int = field(default=0, init=False)
    _concurrency: ConcurrencyLimit = field(init=False)
    _sender: Sender = field(init=False)

    def __post_init__(self) -> None:
        self._sender = Sender(self.journal, self.api, self.clock, self.run, self.log, self.refusal)
        self._concurrency = ConcurrencyLimit(self.at_once)

    def advance(self) -> WaitUntil | Results:
        """Do what can be done now. Call it again at the time of a :class:`WaitUntil`.

        :returns: the results, if nothing is left to do.
        :raises OctosparkAlreadySubmittedError: with ``if_already_submitted="fail"``.
        :raises OctosparkStateStoreError: if the record cannot be kept.
        """
        if not self._is_opened:
            self._is_opened = True
            if not self._open():
                return self._results()
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
                "It is not known yet whether a request was accepted; reading its post again at %s. Nothing more of the post is "
                "sent until then.",
                next_poll.isoformat(timespec="seconds"),
            )
            return WaitUntil(next_poll, "a request may or may not have been accepted; looking for it")
        return self._results()

    def _results(self) -> Results:
        if self._halted is None and (explained := explain_refusals(self.journal.records.values(), self.run, self.api)):
            for account in dict.fromkeys(record.social_account_id for record in explained):
                self.log.error("Account %s must be reconnected in Octospark before a post is published on it.", account)
            # The outcomes are true without the reason, so a store that fails now must not end the task.
            with contextlib.suppress(OctosparkStateStoreError):
                self.journal.put(explained)
        return results_of(self.announcements, self.journal.records, self._concluded, self.rules, self.run)

    def _open(self) -> bool:
        """Take in the record; return whether anything may be done."""
        records = self.journal.records
        opening = Opening(self.announcements, dict(records), self.run, self.clock.now(), self.journal.decision)
        is_open = True
        if self.journal.problem is not None:
            is_open = opening.open_unreadable(self.journal.problem, self.journal.request_if_unreadable)
        else:
            opening.open(is_lost=self.journal.lost)
        write_log(self.log, opening.log)
        if opening.records and not opening.may_stay_unwritten:
            self.journal.put(opening.records)
        else:
            records.update({record.key: record for record in opening.records})
        self._concluded.update(opening.concluded)
        self._posts = _posts_of(self.announcements, records)
        # A resumption of this try goes on where the process before it was.
        self._unanswered_rounds = int(
            any(r.state == "in_doubt" and r.try_number == self.run.try_number for r in records.values())
        )
        return is_open

    def _resolve(self) -> None:
        """Bring every post of which earlier tries sent something to a step that sends, waits or finishes."""
        now = self.clock.now()
        steps = self._steps([post for post in self._posts.values() if not post.is_resolved and post.is_due(now)])
        refusals = [step.error for _, step in steps if isinstance(step, Refuse)]
        for post, step in steps:
            post.is_resolved = not isinstance(step, PollLater | Refuse)
        if refusals and self._next_poll() is None:
            if not any(each.note for each in self._concluded.values()):
                raise refusals[0]
            if self._halted is None:
                # A user must decide first, so the task reports what is known instead of raising.
                self._halted = refusals[0]
                self._resolve()

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
                        write_log(self.log, log)
                        post.poll_at, post.is_resolved = at, False
                        post.forget_read()
                    case Finish(log):
                        write_log(self.log, log)
                        post.is_finished, post.poll_at = True, None
                    case Send() | Refuse():
                        post.poll_at = None
                    case FindRun(submission_id):
                        self._runs[submission_id] = self.run_of(submission_id)
                if not isinstance(step, Update | Read | FindRun):
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
            self._runs,
        )

    def _update(self, updates: Sequence[Update]) -> None:
        for update in updates:
            write_log(self.log, update.log)
            self._concluded.update(update.concluded)
            for key in update.reopened:
                del self._concluded[key]
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
            if self.at_once and post.is_resolved and _is_rate_limit(response, self._unanswered_rounds):
                self._limited.append((post, response))
            else:
                post.observed, post.was_read = Observed(response, asked_at, read_at), True
        for post, read in reads:
            for account, request in read.decisions:
                if (account, request) not in post.decisions:
                    post.decisions[account, request] = self.journal.decision(account, request)

    def _send(self, sends: Sequence[tuple[_Post, Send]]) -> None:
        """Send requests, and wait where the service wants a pause."""
        limited, self._limited = [error for _, error in self._limited], []
        for post, send in sends:
            write_log(self.log, send.log)
            post.forget_read()
        sent = self._sender.send([send for _, send in sends])
        for post, send in sends:
            in_doubt = any(self.journal.records[each.key].state == "in_doubt" for each in send.records)
            post.is_resolved = not in_doubt or id(send) in sent.rejected
        rejected = [(post, send, error) for post, send in sends if (error := sent.rejected.get(id(send))) is not None]
        self._unanswered_rounds = 0 if sent.is_answered else self._unanswered_rounds + 1
        errors = [*limited, *(error for _, _, error in rejected)]
        if any(isinstance(error, OctosparkRateLimitError) for error in errors):
            self._concurrency.had_enough()
        elif sent.is_answered:
            self._concurrency.went_well()
        self._pause_after(
            [
                *limited,
                *self._conclude_or_repeat(rejected, is_ours=sent.is_ours),
            ]
        )
        self._report_progress()

    def _pause_after(self, errors: Sequence[OctosparkError]) -> None:
        pause = 0.0
        for error in errors:
            pause = max(pause, delay_after(error, max(1, self._unanswered_rounds)))
            self.log.warning(
                "Not accepted; trying again in %s s: %s", f"{pause:.1f}".removesuffix(".0"), sanitize(error)
            )
        if pause:
            self.clock.sleep(pause)

    def _conclude_or_repeat(
        self, rejected: Sequence[tuple[_Post, Send, OctosparkError]], *, is_ours: bool
    ) -> list[OctosparkError]:
        """Conclude what was not accepted, unless it is worth repeating; return the errors of what is repeated."""
        repeated: list[OctosparkError] = []
        for post, send, error in rejected:
            is_used_up = is_transient(error) and self._unanswered_rounds > MAX_REFUSALS
            if is_ours and is_transient(error) and not is_used_up and delay_after(error, 1) <= LONGEST_DELAY:
                repeated.append(error)
                continue
            state = self._state(post)
            if not is_ours:
                # Another process has taken over this task instance, so the record stays as it is.
                state = replace(state, records={**state.records, **{record.key: record for record in send.records}})
            self._update(
                [
                    protocol.conclude_not_sent(
                        state, send.announcement, error, self.rules, self.run, self.clock.now(), for_all=is_used_up
                    )
                ]
            )
        return repeated

    def _report_progress(self) -> None:
        targets = sum(len(announcement.targets) for announcement in self.announcements)
        now = self.clock.now()

        def count_left() -> int:
            return sum(
                protocol.count_left(self._state(post), self.rules, self.run, now) for post in self._posts.values()
            )

        self._concurrency.report(self.log, now, targets, count_left)
