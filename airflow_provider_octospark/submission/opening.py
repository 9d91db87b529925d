"""The records with which a try begins: what the task's record says, or does not say, of each target."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.submission import conclusions
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.decisions import decision_of
from airflow_provider_octospark.submission.records import Record, Target
from airflow_provider_octospark.submission.rules import Run
from airflow_provider_octospark.submission.steps import Conclusion, LogLine
from airflow_provider_octospark.submission.transitions import decided_accepted, outcome_about

SHOWN = 5
"""How many other targets a message names."""


@dataclass
class Opening:
    """What a try begins with.

    :param announcements: what the task asks for now.
    :param known: the records that can be read.
    :param run: the facts about the task instance.
    :param now: our clock.
    :param decision: looks up what a user decided about an account and a request.

    ``records`` are to be added to the known ones and written, unless ``may_stay_unwritten``.
    """

    announcements: Sequence[Announcement]
    known: Mapping[Target, Record]
    run: Run
    now: datetime
    decision: Callable[[str, str], object]
    records: list[Record] = field(default_factory=list)
    concluded: dict[Target, Conclusion] = field(default_factory=dict)
    log: list[LogLine] = field(default_factory=list)

    @property
    def may_stay_unwritten(self) -> bool:
        """Whether a page without ``records`` means the same as one with them.

        The record of a task that is not mapped is whole, so a target that is not on it is ``unsent``.
        """
        return self.run.map_index < 0 and all(record.state == "unsent" for record in self.records)

    def open(self, *, is_lost: bool) -> None:
        """Decide about each target that is not on the record.

        :param is_lost: whether the record, or a page of it, was lost.
        """
        pending = {key for announcement in self.announcements for key in announcement.targets}
        others = [record for key, record in self.known.items() if key not in pending]
        if self.run.map_index < 0:
            self._report_others(others)
            others = []
        elif pending & self.known.keys():
            # The list has grown, so its new target may have stood at another position.
            others = list(self.known.values())
        for announcement in self.announcements:
            for record in announcement.unsent_records():
                if record.key in self.known:
                    continue
                if is_lost:
                    self.records.append(self._without_record(record, announcement))
                elif others:
                    self._open_after_list_change(record, announcement, others)
                else:
                    self.records.append(record)

    def _report_others(self, others: Sequence[Record]) -> None:
        sent = [record for record in others if record.state != "unsent"]
        if sent:
            self.log.append(
                LogLine(
                    "warning",
                    f"Earlier tries have sent targets that are not asked for any more; they are left as they are: {_named(sent)}.",
                )
            )

    def _without_record(self, record: Record, announcement: Announcement, request: str | None = None) -> Record:
        """Return a target in doubt of which only the run's begin is known; ``settle_time`` counts from now."""
        self.log.append(
            LogLine(
                "warning",
                f"There is no record of what earlier tries sent to account {record.social_account_id}. Falling back on "
                f"what Octospark shows of post {record.post_id} since this run began ({self.run.began_at.isoformat()}).",
            )
        )
        return record.model_copy(
            update={
                "state": "in_doubt",
                "request": request or new_request(),
                "try_number": self.run.try_number - 1,
                "max_tries": self.run.max_tries,
                "fenced_at": format_instant(self.now),
                "run_began_at": format_instant(self.run.began_at),
                "scheduled_at": announcement.time_to_send,
            }
        )

    def _open_after_list_change(self, record: Record, announcement: Announcement, others: Sequence[Record]) -> None:
        """Decide about a target that another task instance of a mapped task may have sent: only a user can tell.

        A mapped task instance is told apart by its position in the list only.
        """
        keys = sorted("/".join(key) for key in [record.key, *(other.key for other in others)])
        request = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:8]
        why = (
            f"the record of this task instance is about another target: {_named(others)}. The list that the task is mapped "
            "over, or a template, has changed between tries, so another task instance may have sent this one"
        )
        self._decide(record, announcement, request, why)

    def _decide(self, record: Record, announcement: Announcement, request: str, why: str) -> None:
        account = record.social_account_id
        match decision_of(self.decision(account, request), account, request, self.log):
            case "not_accepted":
                self.records.append(self._without_record(record, announcement, request))
            case "accepted":
                self.records.append(decided_accepted(record, self.run, request=request, fence=self.run.run_after))
            case _:
                self.concluded[record.key] = conclusions.unknown(record, "in_doubt", why, request, self.run)

    def open_unreadable(self, problem: str, request_of: Callable[[Target], str]) -> bool:
        """Decide about the targets that may be on a page which cannot be read.

        :param problem: why it cannot be read.
        :param request_of: names the request of a target that a user's decision is about.
        :returns: whether all are decided. Nothing is sent, and nothing read, before they are.
        """
        for announcement in self.announcements:
            for record in announcement.unsent_records():
                if record.key not in self.known:
                    why = f"the record of earlier tries cannot be read ({problem})"
                    self._decide(record, announcement, request_of(record.key), why)
        if not self.concluded:
            return True
        for record in [*self.known.values(), *self.records]:
            if record.state == "in_doubt" and record.request != request_of(record.key):
                self.concluded[record.key] = conclusions.unknown(
                    record, "in_doubt", "it is looked for when all others are decided", record.request or "", self.run
                )
            elif record.state != "answered":
                why = "nothing is sent before all targets of the unreadable record are decided"
                self.concluded[record.key] = Conclusion(outcome_about(record, "failed", "not_sent", why))
        return False


def new_request() -> str:
    """Return a name for a request: eight random hexadecimal digits."""
    return secrets.token_hex(4)


def _named(records: Sequence[Record]) -> str:
    return ", ".join(f"post {r.post_id} account {r.social_account_id} ({r.state})" for r in records[:SHOWN])
