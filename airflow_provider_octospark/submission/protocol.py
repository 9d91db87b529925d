"""Decide what to do next about one post, so that each target is submitted at most once.

:func:`next_step` is a pure function of the task's records of the post, what the post shows, and what a user decided. The
driver (``driver.py``) carries the step out. For each target the step follows from this table; the first row that fits counts:

============  ==================================================================  =========================================
the record    the post shows                                                      step
============  ==================================================================  =========================================
``unsent``    a submission with the marks of an earlier request of this task      adopt; unknown if that request was refused, or
or freed                                                                          while the submission has failed
``unsent``    another submission of the target since the run began                record it; conclude ``not_sent``, unless
or freed                                                                          ``repeats`` lets it pass
``unsent``    anything else                                                       send: fence, request, response
``in_doubt``  a submission with its marks that is scheduled, under way or out     adopt
``in_doubt``  anything, and a user decided ``accepted``                           record it as answered
``in_doubt``  anything else, while ``settle_time`` is not over                    poll again
``in_doubt``  anything else, and a user decided ``not_accepted``                  ``unsent``
``in_doubt``  exactly what it showed before the request                           ``unsent``; with ``settle_time=None`` unknown
``in_doubt``  anything else, or the post cannot be read                           unknown
``answered``  an end that frees the target                                        send, if a retry may
``answered``  anything else                                                       finish with what is known
============  ==================================================================  =========================================

Freed is a target that was answered, and whose submission has ended in a way that allows another one (``rules.frees``).

Four rules hold for the post as a whole:

- A read is compared with all targets of the post, also with those that this try has given up: the service shows one
  submission of a post only, and the next request hides it. What is found replaces the conclusion.
- What a read has shown is written before anything else is sent.
- Nothing is sent to a post while one of its targets is in doubt: it would hide the submission that is looked for. A doubt
  that is concluded as unknown does not hold the post any more.
- The fence is written before the request leaves: state ``in_doubt``, with what the post showed as the baseline. Whatever ends
  the process from then on, the record says that a request may have left.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from airflow_provider_octospark.api.models import ScheduledPost
from airflow_provider_octospark.api.text import rounded, sanitize
from airflow_provider_octospark.exceptions import OctosparkAuthError, OctosparkError, OctosparkHaltedError
from airflow_provider_octospark.outcomes import Outcome, Reason, outcome_of, same_id, same_stored
from airflow_provider_octospark.parameters.times import format_instant, on_service_clock
from airflow_provider_octospark.submission import conclusions, messages
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.decisions import decision_of
from airflow_provider_octospark.submission.doubt import (
    Adopt,
    PollAgain,
    SendAgain,
    Unknown,
    bears_our_marks,
    is_adoptable,
    is_created_since,
    resolve_doubt,
)
from airflow_provider_octospark.submission.records import Baseline, Record, Target
from airflow_provider_octospark.submission.rules import LATE_LEAD, MAX_SENDS, Rules, Run, frees
from airflow_provider_octospark.submission.steps import (
    Conclusion,
    DecisionKey,
    FindRun,
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
from airflow_provider_octospark.submission.transitions import (
    adopted,
    decided_accepted,
    decided_not_accepted,
    in_doubt_again,
    in_doubt_over_refused,
    with_observed,
)


def next_step(post: PostState, rules: Rules, run: Run, now: datetime) -> Step:
    """Return the next step for a post; see the table of this module.

    :param post: what is known of it.
    :param rules: how the task wants its submissions treated.
    :param run: the facts about the task instance and this try.
    :param now: our clock.
    """
    protocol = _Protocol(post, rules, run, now)
    if step := protocol.conclude_without_reading():
        return step
    if post.observed is None:
        return Read(protocol.decision_keys()) if protocol.needs_read() else protocol.send_or_finish()
    if update := protocol.compare_with_targets(post.observed):
        return update
    if not post.decisions.keys() >= set(protocol.decision_keys()):
        return Read(protocol.decision_keys())
    return protocol.resolve_doubts(post.observed) or protocol.conclude_after_reading() or protocol.send_or_finish()


def conclude_not_sent(
    post: PostState,
    announcement: Announcement,
    error: OctosparkError,
    rules: Rules,
    run: Run,
    now: datetime,
    *,
    for_all: bool = False,
) -> Update:
    """Conclude that an announcement is not sent in this try.

    :param error: what refused the request.
    :param for_all: whether it would refuse every other request too; a refused key, a task that was told to stop and a
        connection that is read-only do so in any case.
    """
    halts = error if for_all or isinstance(error, OctosparkAuthError | OctosparkHaltedError) else None
    protocol = _Protocol(post, rules, run, now)
    left = protocol.all_left() if halts else protocol.left_to_send(announcement)
    return protocol.not_sent(left, error, LogLine("error", f"Not submitted: {sanitize(error)}"), halts=halts)


def count_left(post: PostState, rules: Rules, run: Run, now: datetime) -> int:
    """Return how many targets of a post are not done: left to send, or in doubt and perhaps to be sent again."""
    return len(_Protocol(post, rules, run, now).all_left()) + len(post.in_doubt())


class _Protocol:
    """The rules, applied to one post."""

    def __init__(self, post: PostState, rules: Rules, run: Run, now: datetime) -> None:
        self.post = post
        self.rules = rules
        self.run = run
        self.now = now

    # The targets, by what may be done about them

    def left_to_send(self, announcement: Announcement) -> list[Record]:
        """Return the records of an announcement that may be sent."""
        return [each for each in self.post.open_records(announcement) if each.state == "unsent" or self._is_free(each)]

    def all_left(self) -> list[Record]:
        """Return the records of all announcements that may be sent."""
        return [record for announcement in self.post.announcements for record in self.left_to_send(announcement)]

    def _submitted_before(self) -> list[Record]:
        return [record for record in self.post.open_records() if self._is_submitted_before(record)]

    def _is_submitted_before(self, record: Record) -> bool:
        return record.state == "answered" and (record.try_number or 0) < self.run.try_number

    def _is_free(self, record: Record) -> bool:
        """Whether an earlier try's submission has ended in a way that allows another one."""
        return self._is_submitted_before(record) and self._is_freed_by(record, record.known_outcome)

    def _is_cleared(self, record: Record) -> bool:
        """Whether a user cleared the task since the record's request: a clear raises ``max_tries``."""
        return record.max_tries is not None and self.run.max_tries > record.max_tries

    def _is_freed_by(self, record: Record, outcome: Outcome) -> bool:
        cleared = self._is_cleared(record)
        settle_time = self.rules.settle_time
        if record.inferred and (not cleared or settle_time is None or self.now < record.fence + settle_time):
            # Somebody else may have made the adopted submission, and it may hide the request's own.
            return False
        return frees(outcome, self.rules, cleared=cleared)

    def _refuse_repeats(self, records: Iterable[Record]) -> Update | FindRun | None:
        """Refuse the first target that another submission keeps from being sent."""
        for record in records:
            other = record.other_submission
            if other is None or self.rules.repeats == "allow":
                continue
            submission_id = other.scheduled_post_id or ""
            if submission_id not in self.post.runs:
                return FindRun(submission_id)
            run_id = self.post.runs[submission_id]
            if run_id is None or self.rules.repeats == "refuse":
                error = messages.repeat(record, self.run, run_id)
                return self.not_sent([record], error, LogLine("error", str(error)))
        return None

    # Before the post is read

    def conclude_without_reading(self) -> Update | FindRun | None:
        """Conclude what no read can change, so that a post that may not be sent costs no request."""
        left = self.all_left()
        if left and self.post.halted is not None:
            return self.not_sent(left, self.post.halted)
        unsent = [record for record in left if record.state == "unsent"]
        for record in unsent:
            if record.try_number == self.run.try_number and record.sends >= MAX_SENDS:
                return self._not_sent_again(record)
        if step := self._refuse_repeats(unsent):
            return step
        return None if self.post.in_doubt() or self._is_behind() else self._not_sent_late()

    def _is_behind(self) -> bool:
        """Whether the end of an earlier submission may have come since this task last read its post."""
        earlier = [record for record in self._submitted_before() if record.known_outcome.state != "published"]
        return bool(earlier) and not self.post.was_read

    def needs_read(self) -> bool:
        """Whether the post must be read before anything more is decided."""
        return bool(self.post.in_doubt() or self.all_left() or self._is_behind())

    def decision_keys(self) -> tuple[DecisionKey, ...]:
        """Return the keys of the decisions that a user may have made."""
        return tuple((record.social_account_id, record.request or "") for record in self.post.in_doubt())

    # After it was read

    def compare_with_targets(self, observed: Observed) -> Update | None:
        """Compare what the post shows with every target, and record what is found.

        The service shows one submission of a post. The next one hides it, to whichever account, so this is the only chance to
        notice it.
        """
        latest = observed.latest
        if latest is None:
            return None
        compared = [self._compared(record, latest, observed) for record in self.post.records.values()]
        found = [each for each in compared if each is not None]
        lines = tuple(line for _, line in found if line is not None)
        reopened = frozenset(
            record.key
            for record, _ in found
            if record.key in self.post.concluded and record.state != self.post.records[record.key].state
        )
        return Update(tuple(record for record, _ in found), log=lines, reopened=reopened) if found else None

    def _compared(
        self, record: Record, latest: ScheduledPost, observed: Observed
    ) -> tuple[Record, LogLine | None] | None:
        """Return what becomes of a record, and a line for the log; None if ``latest`` does not concern it."""
        if not same_id(latest.social_account_id, record.social_account_id) or record.is_foreign(latest.id):
            return None
        is_left = record.state == "unsent" or self._is_free(record)
        if not is_left and not self._is_submitted_before(record):
            return None
        seen = outcome_of(latest, record.team_id, record.post_id)
        known = next((each for each in record.submissions() if same_id(each.scheduled_post_id, latest.id)), None)
        if known is not None:
            return self._compared_with_own(record, known, seen, is_left=is_left)
        if not is_left:
            return None
        if (record.state == "unsent" or record.inferred) and self._is_marked(record, latest, observed):
            if not is_adoptable(latest):
                return in_doubt_again(record), None
            return adopted(record, seen, self.run), messages.adopting_late(record, latest)
        refused = in_doubt_over_refused(record)
        if refused is not None and self._is_marked(refused, latest, observed):
            return refused, None
        other = record.other_submission
        is_new = other is None or not same_id(other.scheduled_post_id, latest.id)
        if is_new and self.rules.repeats != "allow" and self._is_since_begin(latest, observed):
            return record.model_copy(update={"other_submission": seen}), None
        return None

    def _compared_with_own(
        self, record: Record, known: Outcome, seen: Outcome, *, is_left: bool
    ) -> tuple[Record, LogLine | None] | None:
        if same_stored(seen, known):
            return None
        if is_left and not self._is_freed_by(record, seen):
            return with_observed(record, seen), messages.not_resubmitting(record, seen)
        if same_stored(known, record.outcome) and known.state != "published":
            return with_observed(record, seen), None
        return None

    def _is_since_begin(self, latest: ScheduledPost, observed: Observed) -> bool:
        return is_created_since(self.run.began_at, latest, observed.service_time, observed.read_at)

    def _is_marked(self, record: Record, latest: ScheduledPost, observed: Observed) -> bool:
        return bears_our_marks(record, latest, observed.service_time, observed.read_at)

    def resolve_doubts(self, observed: Observed) -> Update | PollLater | None:
        """Resolve the requests in doubt, as far as what the post shows and what a user decided allow it."""
        records: list[Record] = []
        concluded: dict[Target, Conclusion] = {}
        log: list[LogLine] = []
        polls: list[datetime] = []
        for record in self.post.in_doubt():
            resolution = resolve_doubt(
                record, observed.response, observed.read_at, self.rules.settle_time, observed.asked_at
            )
            key = (record.social_account_id, record.request or "")
            decision = None if isinstance(resolution, Adopt) else decision_of(self.post.decisions.get(key), *key, log)
            if decision == "accepted":
                records.append(decided_accepted(record, self.run))
                continue
            if decision == "not_accepted" and not isinstance(resolution, PollAgain):
                # Before ``settle_time`` is over nobody can know that the request has no effect.
                latest = observed.latest
                is_marked = latest is not None and self._is_marked(record, latest, observed)
                records.append(decided_not_accepted(record, latest.id if latest is not None and is_marked else None))
                log.append(messages.not_accepted(record, ", as a user decided"))
                continue
            match resolution:
                case Adopt(scheduled):
                    records.append(adopted(record, outcome_of(scheduled, record.team_id, record.post_id), self.run))
                    log.append(messages.adopting(record, scheduled))
                case SendAgain():
                    records.append(record.model_copy(update={"state": "unsent"}))
                    after = rounded(observed.read_at - record.fence)
                    log.append(messages.not_accepted(record, f": {after} later the post is as it was before"))
                case Unknown(why, reason):
                    concluded[record.key] = conclusions.unknown(record, reason, why, record.request or "", self.run)
                case PollAgain(at):
                    polls.append(at)
        if records or concluded:
            return Update(records=tuple(records), concluded=concluded, log=tuple(log))
        return PollLater(min(polls), tuple(log)) if polls else None

    def conclude_after_reading(self) -> Update | FindRun | None:
        """Conclude what is not sent although an earlier submission would allow it."""
        return self._refuse_repeats(self.all_left()) or self._not_sent_late()

    # What is left

    def send_or_finish(self) -> Step:
        """Send the next request of the post, or finish with what is known."""
        submitted = [record for record in self._submitted_before() if not self._is_free(record)]
        if submitted and self.rules.if_already_submitted == "fail":
            return Refuse(messages.already_submitted(submitted[0]))
        # The clear has had its effect: an end that comes later is not the one that the user saw.
        cleared = [record for record in submitted if record.max_tries is None or self._is_cleared(record)]
        if cleared:
            return Update(
                records=tuple(record.model_copy(update={"max_tries": self.run.max_tries}) for record in cleared)
            )
        for announcement in self.post.announcements:
            left = self.left_to_send(announcement)
            if left and self.post.observed is not None:
                return self._send(announcement, left, self.post.observed)
        return Finish(tuple(map(messages.reattached, submitted)))

    def _send(self, announcement: Announcement, left: list[Record], observed: Observed) -> Step:
        if isinstance(observed.response, OctosparkError):
            return conclude_not_sent(self.post, announcement, observed.response, self.rules, self.run, self.now)
        if (error := messages.not_approved(announcement, observed.response.value)) is not None:
            return conclude_not_sent(self.post, announcement, error, self.rules, self.run, self.now)
        records = tuple(left[: announcement.accounts_per_call or len(left)])
        if self.rules.dry_run:
            return Update(
                concluded={record.key: conclusions.dry_run(record) for record in records},
                log=(messages.dry_run(announcement.operation([each.social_account_id for each in records])),),
            )
        latest = observed.latest
        baseline = Baseline(
            scheduled_post_id=latest.id if latest else None,
            updated_at=latest.updated_at if latest else None,
            service_time=format_instant(observed.service_time) if observed.service_time else None,
        )
        log = tuple(map(messages.resubmitting, filter(self._is_free, records)))
        if announcement.at is not None and conclusions.is_sent_late(announcement, self.rules, self.run, self.now):
            on_time = on_service_clock(self.now, observed.service_time, observed.read_at) + LATE_LEAD
            log = (*log, messages.scheduling_late(announcement, on_time))
            announcement = announcement.at(on_time.replace(microsecond=0))
        return Send(announcement, records, baseline, log)

    def _not_sent_late(self) -> Update | None:
        """Conclude that targets are not sent whose time has passed. Nothing of them can be out that is not on record."""
        for announcement in self.post.announcements:
            left = self.left_to_send(announcement)
            error = conclusions.too_late(announcement, self.rules, self.run, self.now) if left else None
            if error is not None:
                return self.not_sent(left, error, LogLine("warning", str(error)), reason="late")
        return None

    def _not_sent_again(self, record: Record) -> Update:
        error = messages.used_up(record)
        return self.not_sent([record], error, LogLine("error", str(error)))

    def not_sent(
        self,
        records: Iterable[Record],
        error: OctosparkError,
        *log: LogLine,
        reason: Reason = "not_sent",
        halts: OctosparkError | None = None,
    ) -> Update:
        """Conclude that records are not sent in this try; an earlier submission that is known keeps its outcome."""
        concluded: dict[Target, Conclusion] = {}
        lines = list(log)
        for record in records:
            concluded[record.key] = conclusions.not_sent(record, error, reason, self.rules)
            if record.state == "answered" and concluded[record.key].outcome == record.outcome:
                lines.append(messages.not_once_more(record, error))
        return Update(concluded=concluded, log=tuple(lines), halts=halts)
