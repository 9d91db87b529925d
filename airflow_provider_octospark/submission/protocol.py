"""Send a publish request at most once, across tries, kills and clears.

The protocol, step by step ("A post goes out once" in the documentation says what it promises):

1. *Records.* The first act of a first try is an empty page in the store (``journal.py``). A later try that finds none
   has lost it and falls back on time: what the service shows since the run began.
2. *In doubt.* A record ``in_doubt`` means that a request may have left. It is resolved by reading only (``resolve_doubt``):
   adopted, found not to have arrived, or, when ``settle_time`` has passed and neither is proven, unknown.
3. *Accepted by an earlier try.* Such a target is never sent again, unless its end *frees* it (``frees``).
4. *To send.* What is left is sent, call by call: checks on time; a read of the post, which is the baseline; the
   *fence*, one write of ``in_doubt`` directly before the request; the request itself, once, on a connection of its own; the
   answer, written before anything else that can fail.

Nothing here imports Airflow, sleeps on its own account or knows of HTTP: a store, a client and a clock are handed in.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from airflow_provider_octospark.api.backoff import LONGEST_DELAY, delay_after, is_transient
from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.operations import Operation, get_post
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.exceptions import (
    OctosparkAlreadySubmittedError,
    OctosparkAuthError,
    OctosparkError,
    OctosparkFailError,
    OctosparkRateLimitError,
    OctosparkServerError,
    OctosparkTooLateError,
)
from airflow_provider_octospark.outcomes import Outcome, Reason, outcome_of, same_id
from airflow_provider_octospark.parameters.times import format_instant, on_service_clock, parse_instant
from airflow_provider_octospark.submission.concurrency import ConcurrencyLimit
from airflow_provider_octospark.submission.decisions import note_on_doubt, request_of
from airflow_provider_octospark.submission.journal import Journal
from airflow_provider_octospark.submission.records import Baseline, Record, Target, target_key
from airflow_provider_octospark.submission.rules import (
    LEAVE_WITHIN,
    MAX_REFUSALS,
    MAX_SENDS,
    Adopt,
    PollAgain,
    Rules,
    Run,
    SendAgain,
    Unknown,
    bears_our_marks,
    frees,
    is_adoptable,
    proves_nothing_sent,
    resolve_doubt,
)
from airflow_provider_octospark.submission.transitions import (
    in_doubt_again,
    outcome_about,
    with_observed,
    with_outcome,
    with_response,
)


class Api(Protocol):
    """What is needed of a client: several calls at once, errors as values."""

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
class Announcement:
    """One prepared post that is to go to some accounts.

    :param operation: makes the call for some of the accounts.
    :param scheduled_at: when it is to go out, or None for now.
    :param accounts_per_call: at most so many accounts in one call; None for all.
    """

    team_id: str
    post_id: str
    social_account_ids: tuple[str, ...]
    operation: Callable[[Sequence[str]], Operation[Any]]
    scheduled_at: datetime | None = None
    accounts_per_call: int | None = None

    @property
    def post(self) -> tuple[str, str]:
        """Team and post, in lower case."""
        return self.team_id.lower(), self.post_id.lower()

    @cached_property
    def targets(self) -> list[Target]:
        """The keys of its targets, in order."""
        return [target_key(self.team_id, self.post_id, account) for account in self.social_account_ids]


@dataclass(frozen=True)
class WaitUntil:
    """Nothing more can be done before ``time``; come back then."""

    time: datetime
    why: str


@dataclass(frozen=True)
class _Call:
    """A request to make, and the records of its targets as they are before its fence."""

    announcement: Announcement
    records: tuple[Record, ...]

    @property
    def reading(self) -> Operation[Post]:
        return get_post(self.announcement.team_id, self.announcement.post_id)


@dataclass(frozen=True)
class _Ready(_Call):
    """The same, checked against what the post showed last."""

    operation: Operation[Any]
    baseline: Baseline


@dataclass
class Submission:
    """What one try does about its announcements; make one for each try or resumption.

    :param announcements: what is to be submitted; no target may stand in two of them.
    :param journal: the task instance's record.
    :param log: where a user reads what happened.
    :param at_once: for a batch, the most requests that are under way at once; None (default) for one of each post. The
        list of a batch may change between tries, and the log tells how far it has come.

    ``error`` is None, or the first thing that kept something from being sent; ``resubmission_error`` the same for what was to
    be submitted again, and whose earlier outcome stands; ``notes`` says, for every target that is
    in doubt, what a user should know and do.
    """

    announcements: Sequence[Announcement]
    journal: Journal
    api: Api
    clock: Clock
    rules: Rules
    run: Run
    log: Log
    at_once: int | None = None
    error: OctosparkError | None = field(default=None, init=False)
    resubmission_error: OctosparkError | None = field(default=None, init=False)
    notes: dict[Target, str] = field(default_factory=dict, init=False)
    # What this try has to say about a target beyond its record; it does nothing more about it.
    _final: dict[Target, Outcome] = field(default_factory=dict, init=False)
    # Targets that were accepted, and that their end has freed.
    _resubmittable: set[Target] = field(default_factory=set, init=False)
    _reattached: set[Target] = field(default_factory=set, init=False)
    # When a request in doubt is to be looked for again, by target and attempt.
    _polls: dict[tuple[Target, str | None], datetime] = field(default_factory=dict, init=False)
    # So many times in a row nothing that was sent got through.
    _unanswered_rounds: int = field(default=0, init=False)
    _is_entered: bool = field(default=False, init=False)
    _announcement_of: dict[Target, Announcement] = field(init=False)
    _concurrency: ConcurrencyLimit = field(init=False)

    def __post_init__(self) -> None:
        self._announcement_of = {key: each for each in self.announcements for key in each.targets}
        self._concurrency = ConcurrencyLimit(self.at_once)

    def advance(self) -> WaitUntil | list[Outcome]:
        """Do what can be done now; call again after the time of a :class:`WaitUntil`.

        :returns: the outcome of every target, in the order of the announcements.
        :raises OctosparkAlreadySubmittedError: with ``if_already_submitted="fail"``.
        :raises OctosparkStateStoreError: if the record cannot be kept.
        """
        if not self._is_entered:
            if self.journal.problem is not None and not self._decide_unreadable(self.journal.problem):
                return self.outcomes()
            self._is_entered = True
            self._enter()
        self._concurrency.tell(self.log, self.clock.now(), len(self._announcement_of), self._count_left)
        while True:
            next_poll = self._reconcile()
            if next_poll is not None and (self._unanswered_rounds or self.rules.if_already_submitted == "fail"):
                # With "fail", nothing would be told of what is in doubt, did it fail over another target now.
                break
            if self._reattach():
                continue
            calls = self._next_calls()
            if not calls:
                break
            self._send(calls)
        if next_poll is not None:
            return WaitUntil(next_poll, "a request may or may not have been accepted; looking for it")
        return self.outcomes()

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of every target, as far as it is known."""
        result = []
        for unsent in self._blank_records():
            record = self.journal.records.get(unsent.key, unsent)
            result.append(self._final.get(unsent.key) or record.outcome or outcome_about(unsent, "pending", None))
        return result

    @property
    def is_skip(self) -> bool:
        """Whether nothing was sent because all of it was too late, and that is meant to skip the task."""
        meant = self.rules.if_late == "skip" or (self.rules.skip_in_backfill and self.run.is_backfill)
        return meant and all(outcome.reason == "late" for outcome in self.outcomes())

    # Step 1: records.

    def _enter(self) -> None:
        blank = list(self._blank_records())
        pending = {record.key for record in blank}
        # A mapped task is told apart by its position only: if the list has changed, another position may have sent
        # this target. Of an unmapped one, a unsent record of another target says that nothing was sent in its place.
        others = [record for key, record in self.journal.records.items() if key not in pending]
        other_targets = [record for record in others if record.state != "unsent" or self.run.map_index >= 0]
        if other_targets and self.at_once is not None and self.run.map_index < 0:
            # All that a batch has ever submitted is on its own record, whatever its list was then.
            reported = ", ".join(
                f"post {each.post_id} account {each.social_account_id} ({each.state})" for each in other_targets[:5]
            )
            self.log.warning(
                "%d targets of an earlier try are not in the list any more, and are left as they are: %s.",
                len(other_targets),
                reported,
            )
            other_targets = []
        if self.run.map_index >= 0 and any(key in self.journal.records for key in pending):
            # A list that has grown: its new target may have stood at another position.
            other_targets = list(self.journal.records.values())
        new: list[Record] = []
        for unsent in blank:
            if unsent.key in self.journal.records:
                continue
            if self.journal.lost:
                new.append(self._without_record(unsent))
            elif other_targets:
                new += self._after_list_change(unsent, other_targets)
            else:
                new.append(unsent)
        if new and (self.run.map_index >= 0 or any(record.state != "unsent" for record in new)):
            self.journal.put(new)
        else:
            # Not written yet: of an unmapped task, a target that is missing on a page means the same as a unsent one.
            self.journal.records.update({record.key: record for record in new})
        of_this_try = [record for record in self._records() if record.try_number == self.run.try_number]
        # A resumption goes on where the process before it was: with what has got no response too often, and with what is in
        # doubt because nothing gets through.
        self._unanswered_rounds = int(any(record.state == "in_doubt" for record in of_this_try))
        for record in self._records():
            if record.state == "unsent" and self._is_refused_as_repeat(record):
                self._refuse_repeat(record)
        for record in of_this_try:
            if record.state == "unsent" and record.sends >= MAX_SENDS:
                self._give_up_after_max_sends(record)

    def _without_record(self, unsent: Record, request: str | None = None) -> Record:
        """A target of which nothing is known but the time: in doubt until ``settle_time`` has passed from now on."""
        self.log.warning(
            "There is no record of what earlier tries sent to account %s. Falling back on what Octospark shows of post "
            "%s since this run began (%s).",
            unsent.social_account_id,
            unsent.post_id,
            self.run.began_at.isoformat(),
        )
        return unsent.model_copy(
            update={
                "state": "in_doubt",
                "request": request or _new_request(),
                "try_number": self.run.try_number - 1,
                "max_tries": self.run.max_tries,
                "fenced_at": format_instant(self.clock.now()),
                "run_began_at": format_instant(self.run.began_at),
                "scheduled_at": self._time_to_send(unsent),
            }
        )

    def _after_list_change(self, unsent: Record, other_targets: Sequence[Record]) -> list[Record]:
        """A target that another task instance may have sent: only a user can tell."""
        keys = sorted("/".join(key) for key in [unsent.key, *(record.key for record in other_targets)])
        request = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:8]
        match self._decision(unsent, request):
            case "not_accepted":
                return [self._without_record(unsent, request)]
            case "accepted":
                return [self._decided_accepted(unsent, request, self.run.run_after)]
        others = ", ".join(f"post {r.post_id} account {r.social_account_id} ({r.state})" for r in other_targets[:5])
        self._unknown(
            unsent,
            "in_doubt",
            f"the record of this task instance is about another target: {others}. The list that the task is mapped over, "
            "or a template, has changed between tries, so another task instance may have sent this one",
            request,
        )
        return []

    def _decide_unreadable(self, problem: str) -> bool:
        """Take in what a user has decided about targets that may be on a page which cannot be read.

        :returns: whether all are decided; nothing is sent before.
        """
        decided: list[Record] = []
        for unsent in self._blank_records():
            if unsent.key in self.journal.records:
                # On a page that can be read.
                continue
            request = self.journal.request_if_unreadable(unsent.key)
            match self._decision(unsent, request):
                case "not_accepted":
                    decided.append(self._without_record(unsent, request))
                case "accepted":
                    decided.append(self._decided_accepted(unsent, request, self.run.run_after))
                case _:
                    self._unknown(
                        unsent, "in_doubt", f"the record of earlier tries cannot be read ({problem})", request
                    )
        if decided:
            # On a page that can be read from now on, so that each decision is obeyed once.
            self.journal.put(decided)
        if not self._final:
            return True
        for record in self._records():
            is_decided = record.request == self.journal.request_if_unreadable(record.key)
            if record.state == "in_doubt" and not is_decided:
                self._unknown(record, "in_doubt", "it is looked for when all others are decided", record.request or "")
            elif record.state != "answered":
                self._final[record.key] = outcome_about(
                    record,
                    "failed",
                    "not_sent",
                    "nothing is sent before all targets of the unreadable record are decided",
                )
        return False

    # Step 2: what is in doubt.

    def _reconcile(self) -> datetime | None:
        """Resolve what can be resolved; return when to look again for the rest."""
        changed: list[Record] = []
        asked = self.clock.now()
        in_doubt = self._in_doubt()
        due = [record for record in in_doubt if self._polls.get((record.key, record.request), asked) <= asked]
        later = [self._polls.get((record.key, record.request), asked) for record in in_doubt]
        poll_times = [at for at in later if at > asked]
        for record, response in self._read(due):
            resolution = resolve_doubt(record, response, self.clock.now(), self.rules.settle_time, asked)
            decision = None if isinstance(resolution, Adopt) else self._decision(record, record.request or "")
            if decision == "accepted":
                changed.append(self._decided_accepted(record, record.request or "", record.fence))
                continue
            if decision == "not_accepted" and not isinstance(resolution, PollAgain):
                # Before ``settle_time`` is over nobody can know that it will not come.
                resolution = SendAgain()
                record = self._with_known(record, response)
            match resolution:
                case Adopt(scheduled):
                    self.log.info(
                        "%s for account %s was accepted: adopting submission %s, created %s.",
                        request_of(record),
                        record.social_account_id,
                        scheduled.id,
                        sanitize(scheduled.created_at, 40),
                    )
                    changed.append(self._adopted(record, outcome_of(scheduled, record.team_id, record.post_id)))
                case SendAgain():
                    self.log.info(
                        "%s for account %s was not accepted%s. It may be sent again.",
                        request_of(record),
                        record.social_account_id,
                        ", as a user decided"
                        if decision
                        else f": {self.clock.now() - record.fence} later the post is as it was before",
                    )
                    changed.append(record.model_copy(update={"state": "unsent"}))
                    if record.try_number == self.run.try_number and record.sends >= MAX_SENDS:
                        self._give_up_after_max_sends(record)
                case PollAgain(at):
                    poll_times.append(at)
                    self._polls[record.key, record.request] = at
                case Unknown(why, reason):
                    self._unknown(record, reason, why, record.request or "")
        if changed:
            self.journal.put(changed)
        if poll_times and due:
            self.log.info(
                "Whether a request was accepted is not known yet; polling again at %s. Until then no more of its post is sent.",
                min(poll_times).isoformat(timespec="seconds"),
            )
        return min(poll_times, default=None)

    def _with_known(self, record: Record, response: Response[Post] | OctosparkError) -> Record:
        """Keep what a user has seen, and called somebody else's, from standing in the way of the next request."""
        latest = None if isinstance(response, OctosparkError) else response.value.latest_scheduled_post
        service_time = None if isinstance(response, OctosparkError) else response.service_time
        if latest is None or not bears_our_marks(record, latest, service_time, self.clock.now()):
            return record
        return record.model_copy(
            update={"earlier": [*record.earlier, outcome_of(latest, record.team_id, record.post_id)]}
        )

    def _adopted(self, record: Record, outcome: Outcome) -> Record:
        """Take a submission for the one in doubt. Only a clear from now on is one by a user who knows how it ended."""
        adopted = {"inferred": True, "max_tries": self.run.max_tries, "earlier": record.submissions()}
        return with_outcome(record, outcome).model_copy(update=adopted)

    def _in_doubt(self) -> list[Record]:
        return [r for r in self._records() if r.state == "in_doubt" and r.key not in self._final]

    def _give_up_after_max_sends(self, record: Record) -> None:
        error = OctosparkServerError(
            f"Octospark did not accept post {record.post_id} for account {record.social_account_id}: {record.sends} requests "
            "of this try had no clear response, and of each was found that it was not accepted.",
            target=f"post {record.post_id} account {record.social_account_id}",
        )
        self.log.error("%s", error)
        self._give_up([record], error, "not_sent")

    def _decision(self, record: Record, request: str) -> str | None:
        """Return what a user decided about a request in doubt: ``accepted``, ``not_accepted``, or None."""
        match self.journal.decision(record.social_account_id, request):
            case "accepted" | "not_accepted" as decision:
                self.log.info(
                    "A user decided about account %s, request %s: %s.", record.social_account_id, request, decision
                )
                return decision
            case None:
                return None
            case other:
                self.log.warning(
                    'The decision about account %s, request %s is %s; write {"decision": "accepted"} '
                    'or {"decision": "not_accepted"}.',
                    record.social_account_id,
                    request,
                    sanitize(other, 60),
                )
                return None

    def _decided_accepted(self, record: Record, request: str, fence: datetime) -> Record:
        return record.model_copy(
            update={
                "state": "answered",
                "request": request,
                "try_number": self.run.try_number,
                "max_tries": self.run.max_tries,
                "fenced_at": format_instant(fence),
                "inferred": True,
                "outcome": outcome_about(record, "pending", None),
            }
        )

    # Step 3: what was accepted by an earlier try.

    def _reattach(self) -> bool:
        """Decide what becomes of submissions that earlier tries made; return whether one is in doubt again."""
        earlier = [
            record
            for record in self._records()
            if record.state == "answered"
            and (record.try_number or 0) < self.run.try_number
            and record.key not in self._reattached
        ]
        self._refresh([record for record in earlier if record.known_outcome.state != "published"])
        cleared: list[Record] = []
        for key in [record.key for record in earlier]:
            self._reattached.add(key)
            record = self.journal.records[key]
            if record.state != "answered":
                continue
            outcome = record.known_outcome
            if self._is_freed_by(record, outcome):
                if self._is_refused_as_repeat(record):
                    self._refuse_repeat(record)
                    continue
                self._resubmittable.add(key)
                self.log.info(
                    "Submitting again to account %s: the earlier submission %s ended as %s%s.",
                    record.social_account_id,
                    outcome.scheduled_post_id or "(refused)",
                    outcome.state,
                    f" ({outcome.error_category})" if outcome.error_category else "",
                )
            elif self.rules.if_already_submitted == "fail" and not self.notes:
                raise OctosparkAlreadySubmittedError(
                    f"{request_of(record)} submitted post {record.post_id} to account {record.social_account_id} (submission "
                    f'{outcome.scheduled_post_id}, {outcome.state}), and if_already_submitted is "fail". Nothing was sent.',
                    target=f"post {record.post_id} account {record.social_account_id}",
                )
            else:
                self.log.info(
                    "%s submitted to account %s already: submission %s (%s). Not sending again.",
                    request_of(record),
                    record.social_account_id,
                    outcome.scheduled_post_id or "(id not known)",
                    outcome.state,
                )
                if self.run.max_tries > (record.max_tries or 0):
                    # The clear has had its effect: what comes to an end later is not what the user had seen.
                    cleared.append(record.model_copy(update={"max_tries": self.run.max_tries}))
        if cleared:
            self.journal.put(cleared)
        return any(self.journal.records[record.key].state == "in_doubt" for record in earlier)

    def _refresh(self, records: Sequence[Record]) -> None:
        """Look what has become of submissions since they were recorded; what cannot be seen stays as recorded."""
        changed = []
        for record, response in self._read(records):
            latest = None if isinstance(response, OctosparkError) else response.value.latest_scheduled_post
            if latest is None or not same_id(latest.id, record.known_outcome.scheduled_post_id):
                continue
            seen = outcome_of(latest, record.team_id, record.post_id)
            if seen != record.outcome:
                changed.append(with_observed(record, seen))
        if changed:
            self.journal.put(changed)

    def _is_freed_by(self, record: Record, outcome: Outcome) -> bool:
        """Whether a submission of a record's target has ended in a way that allows another one."""
        # A clear raises ``max_tries``.
        cleared = record.max_tries is not None and self.run.max_tries > record.max_tries
        settle_time = self.rules.settle_time
        if record.inferred and (not cleared or settle_time is None or self.clock.now() < record.fence + settle_time):
            # It bears our marks, but somebody else may have made it, while ours is hidden by it or still to come.
            return False
        return frees(outcome, self.rules, cleared=cleared)

    # Step 4: what is left to send.

    def _next_calls(self) -> list[_Call]:
        """Return the calls that are made together: one for each post, none for a post that is in doubt."""
        # A submission to another account of the same post would hide the one that is being looked for.
        in_doubt = {record.key[:2] for record in self._in_doubt()}
        calls: dict[tuple[str, str], _Call] = {}
        for announcement in self.announcements:
            if self._concurrency.concurrency is not None and len(calls) >= self._concurrency.concurrency:
                break
            if announcement.post in in_doubt or announcement.post in calls:
                continue
            left = self._left_to_send(announcement)
            if left:
                count = announcement.accounts_per_call or len(left)
                calls[announcement.post] = _Call(announcement, tuple(left[:count]))
        return list(calls.values())

    def _left_to_send(self, announcement: Announcement) -> list[Record]:
        records = [self.journal.records[key] for key in announcement.targets if key in self.journal.records]
        return [
            record
            for record in records
            if record.key not in self._final
            and (record.state == "unsent" or (record.state == "answered" and record.key in self._resubmittable))
        ]

    def _count_left(self) -> int:
        return sum(len(self._left_to_send(announcement)) for announcement in self.announcements)

    def _send(self, calls: Sequence[_Call]) -> None:
        timely = [call for call in calls if not self._is_too_late(call)]
        responses = self.api.request_all([call.reading for call in timely])
        ready: list[_Ready] = []
        unread: list[tuple[_Call, OctosparkError]] = []
        refused: list[tuple[_Call, OctosparkError]] = []
        for call, response in zip(timely, responses, strict=True):
            if not isinstance(response, OctosparkError):
                prepared = self._prepare(call, response)
                ready += [prepared] if prepared else []
            elif self.at_once is not None and isinstance(response, OctosparkRateLimitError):
                refused.append((call, response))
            else:
                unread.append((call, response))
        got_through = bool(ready) and self._submit(ready, refused)
        if got_through:
            self._unanswered_rounds = 0
        elif ready or any(isinstance(response, OctosparkError) for response in responses):
            self._unanswered_rounds += 1
        # Not before what is ready has left: what is given up must not be on its way.
        for call, error in unread:
            self._give_up_call(call, error)
        if any(isinstance(error, OctosparkRateLimitError) for _, error in refused):
            self._concurrency.had_enough()
        elif got_through:
            self._concurrency.went_well()
        self._after_refusals(refused)
        self._concurrency.tell(self.log, self.clock.now(), len(self._announcement_of), self._count_left)

    def _submit(self, ready: Sequence[_Ready], refused: list[tuple[_Call, OctosparkError]]) -> bool:
        """Send what is ready and take in the answers; return whether there was one.

        :param refused: what is proven not to have been accepted, and may be tried again, is added to it.
        """
        fenced = self._fence(ready)
        # Whatever happens from here on until the response is written, the record says ``in_doubt``.
        results = self.api.submit_all([call.operation for call in ready], fenced + LEAVE_WITHIN)
        answered: list[Record] = []
        rejected: list[tuple[_Ready, OctosparkError]] = []
        for call, result in zip(ready, results, strict=True):
            if not isinstance(result, OctosparkError):
                answered += with_response([self.journal.records[each.key] for each in call.records], result, self.log)
            elif proves_nothing_sent(result):
                rejected.append((call, result))
            else:
                self.log.warning("Whether this was accepted is not known: %s", sanitize(result))
        if answered:
            self.journal.put_surely(answered)
        if rejected:
            refused += self._restore_records(rejected)
        return bool(answered)

    def _is_too_late(self, call: _Call) -> bool:
        """Give up on a call whose time has passed. Nothing of its targets can be out that is not on record."""
        now, run_after = self.clock.now(), self.run.run_after
        scheduled_at = call.announcement.scheduled_at
        if self.rules.skip_in_backfill and self.run.is_backfill:
            why = "the run is a backfill. Set allow_backfill=True to publish in backfills too"
        elif scheduled_at is not None and scheduled_at <= now:
            why = (
                f"scheduled_at {scheduled_at.isoformat()} is in the past (it is {now.isoformat(timespec='seconds')}). Give a "
                'time to come, or set if_late="skip"'
            )
        elif self.rules.max_lateness is not None and now - run_after > self.rules.max_lateness:
            why = f"the run was due at {run_after.isoformat()}, which is longer ago than max_lateness ({self.rules.max_lateness})"
        else:
            return False
        message = f"Nothing was sent for post {call.announcement.post_id}: {why}."
        self.log.warning("%s", message)
        error = OctosparkTooLateError(message, target=f"post {call.announcement.post_id}")
        self._give_up(call.records, error, "late")
        return True

    def _prepare(self, call: _Call, response: Response[Post]) -> _Ready | None:
        """Check a call against what the post shows now; return what of it may go out."""
        latest = response.value.latest_scheduled_post
        blocked = self._compare_with_targets(call.announcement.post, response)
        records = tuple(record for record in call.records if record.key not in blocked)
        if not records:
            return None
        operation = call.announcement.operation([record.social_account_id for record in records])
        if self.rules.dry_run:
            self.log.info(
                "Dry run: would send %s %s with %s",
                operation.method,
                operation.url_path,
                sanitize(operation.body, 2000),
            )
            self._final.update({record.key: outcome_about(record, "pending", "dry_run") for record in records})
            return None
        baseline = Baseline(
            scheduled_post_id=latest.id if latest else None,
            updated_at=latest.updated_at if latest else None,
            service_time=format_instant(response.service_time) if response.service_time else None,
        )
        return _Ready(call.announcement, records, operation, baseline)

    def _compare_with_targets(self, post: tuple[str, str], response: Response[Post]) -> set[Target]:
        """Compare what a post shows with every target of it that is left to send, and record what is found.

        The service shows one submission of a post. The next one, to any account, hides it, so a target whose turn comes
        later has no other chance to notice it.

        :returns: the targets that may not be sent.
        """
        latest = response.value.latest_scheduled_post
        if latest is None:
            return set()
        announcements = [announcement for announcement in self.announcements if announcement.post == post]
        left = [record for announcement in announcements for record in self._left_to_send(announcement)]
        return {record.key for record in left if not self._may_send_after(record, latest, response.service_time)}

    def _may_send_after(self, record: Record, latest: ScheduledPost, service_time: datetime | None) -> bool:
        """Whether a target may be submitted although the post shows ``latest``; take it in if it may not."""
        if not same_id(latest.social_account_id, record.social_account_id):
            return True
        seen = outcome_of(latest, record.team_id, record.post_id)
        ours = next((each for each in record.submissions() if same_id(each.scheduled_post_id, latest.id)), None)
        if ours is not None:
            if seen == ours or self._is_freed_by(record, seen):
                return True
            self.log.warning(
                "Not submitting again to account %s: submission %s is %s after all.",
                record.social_account_id,
                latest.id,
                seen.state,
            )
        elif (record.state == "unsent" or record.inferred) and bears_our_marks(
            record, latest, service_time, self.clock.now()
        ):
            if not is_adoptable(latest):
                self.journal.put([in_doubt_again(record)])
                return False
            self.log.warning(
                "%s for account %s was accepted after all: adopting submission %s, which shows up only now. Raise settle_time.",
                request_of(record),
                record.social_account_id,
                latest.id,
            )
            record = self._adopted(record, seen)
        elif self._is_repeat(latest, service_time):
            record = record.model_copy(update={"other_submission": seen})
            self.journal.put([record])
            self._refuse_repeat(record, latest.created_at)
            return False
        else:
            return True
        self._resubmittable.discard(record.key)
        self.journal.put([with_observed(record, seen)])
        return False

    def _is_refused_as_repeat(self, record: Record) -> bool:
        return record.other_submission is not None and not self.rules.allow_repeat

    def _refuse_repeat(self, record: Record, created_at: str | None = None) -> None:
        assert record.other_submission is not None  # noqa: S101 - the callers have checked
        created = f", created {sanitize(created_at, 40)}" if created_at else ""
        error = OctosparkAlreadySubmittedError(
            f"Post {record.post_id} has a submission to account {record.social_account_id} that this task did not "
            f"make: {record.other_submission.scheduled_post_id}{created}, after this run began "
            f"({self.run.began_at.isoformat()}). Nothing was sent. Set allow_repeat=True to submit it all the same.",
            target=f"post {record.post_id} account {record.social_account_id}",
        )
        self.log.error("%s", error)
        self._give_up([record], error, "not_sent")

    def _is_repeat(self, latest: ScheduledPost, service_time: datetime | None) -> bool:
        created = parse_instant(latest.created_at)
        begin = on_service_clock(self.run.began_at, service_time, self.clock.now())
        return not self.rules.allow_repeat and created is not None and created >= begin

    def _fence(self, ready: Sequence[_Ready]) -> datetime:
        """Write ``in_doubt`` for everything that is about to leave; a process that may not write may not send."""
        now = self.clock.now()
        fenced: list[Record] = []
        for call in ready:
            request = _new_request()
            fenced += [
                record.model_copy(
                    update={
                        "state": "in_doubt",
                        "request": request,
                        "try_number": self.run.try_number,
                        "max_tries": self.run.max_tries,
                        "fenced_at": format_instant(now),
                        "baseline": call.baseline,
                        "run_began_at": None,
                        "scheduled_at": self._time_to_send(record),
                        "outcome": None,
                        "inferred": False,
                        "earlier": record.submissions(),
                        "other_submission": None,
                        "sends": 1 + (record.sends if record.try_number == self.run.try_number else 0),
                    }
                )
                for record in call.records
            ]
            self.log.info(
                "Submitting post %s to %s (request %s).",
                call.announcement.post_id,
                ", ".join(record.social_account_id for record in call.records),
                request,
            )
        self._resubmittable.difference_update(record.key for record in fenced)
        self.journal.put(fenced)
        return now

    def _restore_records(self, refused: Sequence[tuple[_Ready, OctosparkError]]) -> list[tuple[_Call, OctosparkError]]:
        """Lift the fence of calls that are proven not to have been accepted; return those that are still ours."""
        before = [record for call, _ in refused for record in call.records]
        if not self.journal.still_holds([self.journal.records[record.key] for record in before]):
            # Another process has taken over this task instance: its record is not ours to change.
            for call, error in refused:
                self._give_up_call(call, error)
            return []
        self.journal.put_surely(before)
        self._resubmittable.update(record.key for record in before if record.state == "answered")
        return list(refused)

    def _after_refusals(self, refused: Sequence[tuple[_Call, OctosparkError]]) -> None:
        """Give up on what was refused, or wait until it is worth another request."""
        pause = 0.0
        for call, error in refused:
            delay = delay_after(error, max(1, self._unanswered_rounds))
            if not is_transient(error) or self._unanswered_rounds > MAX_REFUSALS or delay > LONGEST_DELAY:
                self._give_up_call(call, error)
            else:
                self.log.warning("Not accepted, trying again in %.0f s: %s", delay, sanitize(error))
                pause = max(pause, delay)
        if pause:
            self.clock.sleep(pause)

    def _give_up_call(self, call: _Call, error: OctosparkError) -> None:
        """Give up on what the same would refuse in this try: the announcement, or all of them."""
        self.log.error("%s", sanitize(error))
        is_for_all = isinstance(error, OctosparkAuthError) or (
            is_transient(error) and self._unanswered_rounds > MAX_REFUSALS
        )
        concerned = {record.key: record for record in call.records}
        for announcement in self.announcements if is_for_all else [call.announcement]:
            concerned |= {record.key: record for record in self._left_to_send(announcement)}
        self._give_up(concerned.values(), error, "not_sent")

    # What the steps share.

    def _blank_records(self) -> Iterator[Record]:
        """Yield a unsent record for each target, in order."""
        for announcement in self.announcements:
            for account in announcement.social_account_ids:
                yield Record(team_id=announcement.team_id, post_id=announcement.post_id, social_account_id=account)

    def _records(self) -> list[Record]:
        return [self.journal.records[key] for key in self._announcement_of if key in self.journal.records]

    def _read(self, records: Sequence[Record]) -> list[tuple[Record, Response[Post] | OctosparkError]]:
        """Read the posts of records, each post once."""
        posts = list(dict.fromkeys((record.team_id, record.post_id) for record in records))
        if not posts:
            return []
        responses = dict(zip(posts, self.api.request_all([get_post(*post) for post in posts]), strict=True))
        for (team_id, post_id), response in responses.items():
            if not isinstance(response, OctosparkError):
                self._compare_with_targets((team_id.lower(), post_id.lower()), response)
        return [(record, responses[record.team_id, record.post_id]) for record in records]

    def _time_to_send(self, record: Record) -> str | None:
        """Return the time that is sent with a record's target, as it is recorded."""
        scheduled_at = self._announcement_of[record.key].scheduled_at
        return None if scheduled_at is None else format_instant(scheduled_at)

    def _give_up(self, records: Iterable[Record], error: OctosparkError, reason: Reason) -> None:
        for record in records:
            is_known = record.state == "answered" and record.known_outcome.scheduled_post_id is not None
            if is_known and (record.known_outcome.state == "published" or reason == "late"):
                # It was to be submitted once more. That it is not does not change what has become of it.
                self._resubmittable.discard(record.key)
                if not (reason == "late" and self.rules.if_late == "skip"):
                    self.resubmission_error = self.resubmission_error or error
                self.log.warning("Not submitted to account %s once more: %s", record.social_account_id, sanitize(error))
                continue
            self.error = self.error or error
            resolution = outcome_about(record, "failed", reason, sanitize(error))
            if not isinstance(error, OctosparkFailError):
                resolution = resolution.model_copy(update={"error_category": "transient"})
            self._final[record.key] = resolution

    def _unknown(self, record: Record, reason: Reason, why: str, request: str) -> None:
        self._final[record.key] = outcome_about(record, "unknown", reason, sanitize(why))
        self.notes[record.key] = note_on_doubt(record, sanitize(why), request, self.run.state_store)


def _new_request() -> str:
    return secrets.token_hex(4)
