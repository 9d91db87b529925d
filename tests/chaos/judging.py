"""Whether a history has kept what is promised, by the emulator's ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.histories import History, Told


@dataclass(frozen=True)
class Truth:
    """What the service truly did for one target: the ids of the submissions that it accepted, and of what went out."""

    submitted: tuple[str, ...] = ()
    published: tuple[str, ...] = ()


class Books:
    """The emulator's ledger of all posts, when nothing is pending any more."""

    def __init__(self, submissions: Sequence[Mapping[str, Any]], publications: Sequence[Mapping[str, Any]]) -> None:
        self._submissions = [each for each in submissions if each["operation"] != "user-action"]
        self._publications = publications

    def truth(self, post_id: str, account: str) -> Truth:
        """What became of a target; what a user posted by hand is left out."""
        target = (post_id, account)
        submitted = _ids(self._submissions, target)
        return Truth(submitted, tuple(each for each in _ids(self._publications, target) if each in submitted))


def _ids(entries: Sequence[Mapping[str, Any]], target: tuple[str, str]) -> tuple[str, ...]:
    return tuple(
        each["scheduled_post_id"] for each in entries if (each["post_id"], each["social_account_id"]) == target
    )


def _word(outcome: Mapping[str, Any]) -> str:
    return f"{outcome['state']} ({outcome['reason']})" if outcome["reason"] else str(outcome["state"])


def problems(history: History, books: Books) -> list[str]:
    """Return what a history breaks of the promises; nothing, if all is well."""
    found = [history.trouble] if history.trouble else []
    found += [
        f"account {account[:4]}: {len(truth.submitted)} submissions were accepted"
        for account in history.accounts
        if len((truth := books.truth(history.post_id, account)).submitted) > 1
    ]
    for told in (history.told, history.told_after):
        if told is not None:
            found += [f"after try {told.tries}: {problem}" for problem in _lies(history, told, books)]
    return found


def _lies(history: History, told: Told, books: Books) -> Iterator[str]:
    anything = any(books.truth(history.post_id, account).submitted for account in history.accounts)
    for account, outcome in told.outcomes.items():
        truth = books.truth(history.post_id, account)
        end, reason, named = outcome["state"], outcome["reason"], outcome["scheduled_post_id"]
        said = f"account {account[:4]} is said to be {_word(outcome)}"
        is_later_sent = history.decided.get(account) == "not_accepted" and told is history.told
        match end:
            case "pending" | "published":
                if len(truth.submitted) != 1:
                    yield f"{said}, and {len(truth.submitted)} submissions were accepted"
                elif named != truth.submitted[0] and not (named is None and history.decided.get(account) == "accepted"):
                    yield f"{said} as {named}, and it is {truth.submitted[0]}"
                elif truth.published != truth.submitted:
                    yield f"{said}, and never came out"
            case "failed":
                if truth.submitted and told is history.last_told:
                    yield f"{said}, and was submitted"
            case "unknown":
                if account not in told.unknowns:
                    yield f"{said}, and no line of the log says so"
                if not _may_be_unknown(history, reason, anything or is_later_sent):
                    yield f"{said}, and could be known"
            case _:
                yield f"{said}, which is no end"
        if account in history.decided and told is history.told_after and end == "unknown":
            yield f"{said}, though a user decided that it is {history.decided[account]}"


def _may_be_unknown(history: History, reason: str | None, anything_was_submitted: bool) -> bool:
    """Whether something else hides what became of a target: another account of the same post, or a user."""
    plan = history.plan
    match reason:
        case "in_doubt":
            # In one call, only what was created last can be seen of what may have been accepted.
            several_in_doubt = plan.shape.call == "one call" and plan.accounts > 1 and anything_was_submitted
            return several_in_doubt or plan.is_hidden
        case "not_observable" | "superseded" | "recurred":
            return plan.shape.waits != "no" and plan.accounts > 1
        case "access_lost":
            return plan.is_locked_out
        case _:
            return False


def summary(history: History, books: Books) -> str:
    """Return a history in two lines: what was done to it; what it came to, and what the ledger says."""
    plan, told = history.plan, history.last_told
    kind = f"{plan.shape.dag_id.removeprefix('chaos_')}, {plan.accounts} account{'s' if plan.accounts > 1 else ''}"
    faults = [str(fault.get("status") or fault["fault"]) for fault in plan.faults]
    more = [f"held up {plan.held_up:.1f} s"] if plan.held_up else []
    done = "; ".join([*more, *([f"faults: {', '.join(faults)}"] if faults else []), *history.happened])
    ends = []
    for account in history.accounts if hasattr(history, "post_id") else []:
        truth = books.truth(history.post_id, account)
        said = _word(told.outcomes[account]) if told else "no word"
        ends.append(f"{said}: {len(truth.submitted)} submitted, {len(truth.published)} out")
    return f"{plan.name} {kind}: {done}\n    {told.tries if told else '?'} tries, {' | '.join(ends)}"
