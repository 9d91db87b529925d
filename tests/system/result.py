"""How a demo ended: what Airflow says of each target beside what the emulator's ledger says, and the counts."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.system.emulated import EmulatorControl
from tests.system.rest import AirflowRest
from tests.system.scenario import RUN_STATES, TITLES, Scenario, Target

TargetKey = tuple[str, str]

COLUMNS = (13, 9, 9, 4)
DETAIL_WIDTH = 57
"""With these and two spaces between columns, a line has at most 100 characters."""

DEFINITION = (
    "Each row is one post on one account. The end is what Airflow found out; 'sent' is how often the service was "
    "given the post, counted by the emulator. A duplicate is a row that was sent more than once."
)


@dataclass(frozen=True)
class Counts:
    """The four numbers of the last line."""

    published: int
    failed: int
    unknown: int
    duplicates: int

    def __str__(self) -> str:
        return (
            f"{self.published} published, {self.failed} failed as scripted, "
            f"{self.unknown} unknown, {self.duplicates} duplicates"
        )


class Result:
    """The outcomes that Airflow holds in XCom, and the emulator's ledger."""

    def __init__(
        self, scenario: Scenario, rest: AirflowRest, control: EmulatorControl, runs: Mapping[str, str]
    ) -> None:
        self.scenario = scenario
        self.outcomes = _outcomes(rest, runs)
        self.run_states = {dag_id: rest.run_state(dag_id, run_id) for dag_id, run_id in runs.items()}
        self._sent = Counter((each["post_id"], each["social_account_id"]) for each in control.submissions())
        self._published = Counter((each["post_id"], each["social_account_id"]) for each in control.publications())

    @property
    def counts(self) -> Counts:
        """The rows of the table by their end."""
        ends = Counter(self._end(target) for target in self.scenario.targets)
        return Counts(
            published=ends["published"],
            failed=sum(self._end(target) == target.state == "failed" for target in self.scenario.targets),
            unknown=ends["unknown"],
            duplicates=sum(max(self._sent[key], self._published[key]) > 1 for key in self._sent | self._published),
        )

    def problems(self) -> list[str]:
        """Each difference from the script."""
        wrong = []
        for target in self.scenario.targets:
            where = f"wrong: {TITLES[target.dag_id]} on {target.provider}"
            if (end := self._end(target)) != target.state:
                wrong.append(f"{where}: scripted {target.state}, Airflow says {end}")
            if (self._published[target.key] > 0) != target.goes_out:
                wrong.append(f"{where}: {'not ' if target.goes_out else ''}published, against the script")
        wrong += [
            f"wrong: the run of {dag_id} ended as {state}"
            for dag_id, state in self.run_states.items()
            if state != RUN_STATES[dag_id]
        ]
        scripted = {target.key for target in self.scenario.targets}
        wrong += [f"wrong: not in the script: {key}" for key in (self._published | self._sent).keys() - scripted]
        if self.counts.duplicates:
            wrong.append(f"wrong: {self.counts.duplicates} duplicates")
        return wrong

    def table(self) -> Iterator[str]:
        """The lines of the table: a row for each target, and a last one that counts them."""
        rule = "  ".join("-" * width for width in (*COLUMNS, DETAIL_WIDTH))
        yield _line("run", "platform", "end", "sent", "link, or reason and what to do")
        yield rule
        for target in self.scenario.targets:
            first, *others = textwrap.wrap(self._detail(target), DETAIL_WIDTH) or [""]
            row = (TITLES[target.dag_id], target.provider, self._end(target), str(self._sent[target.key]))
            yield _line(*row, first)
            yield from (_line("", "", "", "", other) for other in others)
        yield rule
        counts, rows = self.counts, len(self.scenario.targets)
        ends = f"{counts.published} published + {counts.failed} failed + {counts.unknown} unknown = {rows} rows"
        yield _line("", "", "", str(self._sent.total()), ends)
        yield from textwrap.wrap(DEFINITION, 100)

    def sent(self, target: Target) -> int:
        """How often the service was given this target."""
        return self._sent[target.key]

    def _end(self, target: Target) -> str:
        return str(self.outcomes.get(target.key, {}).get("state"))

    def _detail(self, target: Target) -> str:
        outcome = self.outcomes.get(target.key, {})
        message = outcome.get("error_message")
        if outcome.get("error_category") == "auth":
            return f"{message} Reconnect the account in Octospark."
        if outcome.get("state") == "unknown":
            return f"{outcome['reason']}: {message}. Look at the post in Octospark and on the platform."
        return str(outcome.get("url") or message or outcome.get("platform_post_id") or outcome.get("reason") or "")


def _line(run: str, platform: str, end: str, sent: str, detail: str) -> str:
    cells = (run, platform, end, sent.rjust(COLUMNS[3]))
    return "  ".join([*(cell.ljust(width) for cell, width in zip(cells, COLUMNS, strict=True)), detail]).rstrip()


def _outcomes(rest: AirflowRest, runs: Mapping[str, str]) -> dict[TargetKey, Mapping[str, Any]]:
    """What the tasks left in XCom: of each target, what is final before what is pending."""
    found: dict[TargetKey, Mapping[str, Any]] = {}
    for dag_id, run_id in runs.items():
        for view in rest.tasks(dag_id, run_id):
            for key in ("accounts", "return_value"):
                for outcome in _outcomes_in(rest.xcom(view.task, key)):
                    target = (outcome["post_id"], outcome["social_account_id"])
                    if target not in found or found[target]["state"] == "pending":
                        found[target] = outcome
    return found


def _outcomes_in(value: Any) -> Sequence[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict) and {"social_account_id", "state"} <= each.keys()]
