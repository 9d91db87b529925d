"""The record of what a task instance has submitted: pages in Airflow's task state store, one entry a target.

All targets of a task are on one page; those of a batch on as many as it takes, so that what leaves together is written
together and nothing else is. A page is written before anything on it is sent and after every response, always whole and
in one write. All are read once, when a try begins or resumes. Their form is versioned; a page in any other form is a
problem to report, never an empty page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from pydantic import ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkStateStoreError
from airflow_provider_octospark.submission.records import FORMAT, Page, Record, Target

PAGE_KEY = "octospark"
DECISION_KEY = "octospark.decision"


class Store(Protocol):
    """Where a task instance keeps JSON values between its tries."""

    def get(self, key: str) -> Any:
        """Return the value, or None if there is none."""

    def set(self, key: str, value: Any) -> None:
        """Write the value, durably, before returning."""


class MemoryStore:
    """Stands in for a store where Airflow has none (before 3.3): lasts for one try and its deferrals.

    :param page: what was carried through a deferral, or None.
    """

    def __init__(self, page: Any = None) -> None:
        self._values: dict[str, Any] = {} if page is None else {PAGE_KEY: page}

    def get(self, key: str) -> Any:
        """Return the value, or None if there is none."""
        return self._values.get(key)

    def set(self, key: str, value: Any) -> None:
        """Keep the value."""
        self._values[key] = value


def page_key(number: int) -> str:
    """Return the store key of a page; the first is number 0."""
    return PAGE_KEY if number == 0 else f"{PAGE_KEY}.{number}"


def decision_key(social_account_id: str, request: str) -> str:
    """Return the store key under which a user decides about one request that is in doubt.

    It names the request, so that a decision can never be taken for one about a later request.
    """
    return f"{DECISION_KEY}.{social_account_id.lower()}.{request}"


class Journal:
    """A task instance's pages, opened for one try.

    :param store: where they are kept.
    :param is_first_try: whether nothing can have been submitted before.
    :param page_size: at most so many records on a page; what is put together for the first time stays together as far as
        a page holds it. None (default) for all on one page.
    :raises OctosparkStateStoreError: if the store cannot be read or written.

    ``problem`` is None, or says why a page cannot be read; the others are read all the same, and that one is left as it is.
    ``lost`` is true if there must have been a page (this is not the first try, or the first page says so) and there is
    none, and for all later tries.
    """

    def __init__(self, store: Store, *, is_first_try: bool, page_size: int | None = None) -> None:
        self._store = store
        self._page_size = page_size
        self._numbers: dict[Target, int] = {}
        self._pages = 1
        # What cannot be read, by the number of its page.
        self._unreadable: dict[int, str] = {}
        self.records: dict[Target, Record] = {}
        self.problem: str | None = None
        self.lost = False
        first = self._get(PAGE_KEY)
        if first is None and is_first_try:
            # The first act of a first try. A later try that finds no page at all then knows that it was lost.
            self._write([0])
        elif first is None:
            self.lost = True
        else:
            self._parse(first, 0)
        self._read_others()

    def _read_others(self) -> None:
        number = 1
        # Without the first page nothing tells how many there are.
        is_told = 0 not in self._unreadable and not (self.lost and self._page_size is not None)
        while number < self._pages or not is_told:
            raw = self._get(page_key(number))
            if raw is not None:
                self._parse(raw, number)
            elif number < self._pages:
                self.lost = True
            else:
                break
            number += 1
        self._pages = max(self._pages, number)

    def _parse(self, raw: Any, number: int) -> None:
        problem = None
        try:
            # Through JSON text, because strict models take JSON's forms of a value only from JSON.
            page = Page.model_validate_json(json.dumps(raw))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            problem = sanitize(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 200)
        except (ValueError, TypeError, RecursionError) as error:
            problem = sanitize(error, 200)
        else:
            if any(record.key in self.records for record in page.records) or len(
                {record.key for record in page.records}
            ) != len(page.records):
                problem = "two records of one target"
            else:
                self.records.update({record.key: record for record in page.records})
                self._numbers.update({record.key: number for record in page.records})
                self._pages = max(self._pages, page.pages)
                self.lost = self.lost or page.incomplete
        if problem is not None:
            self.problem = self.problem or problem
            self._unreadable[number] = repr(raw)

    def request_if_unreadable(self, key: Target) -> str:
        """Name what an unreadable page may hold of a target; a user's decision is bound to it."""
        held = sorted(self._unreadable.items())
        return hashlib.sha256(f"{'/'.join(key)} {held}".encode("utf-8", "replace")).hexdigest()[:8]

    def page(self, number: int = 0) -> dict[str, Any]:
        """Return a page as JSON, as it is written."""
        # Targets that were never written are clean; where there is one page only, it names them.
        unwritten = 0 if self._page_size is None and not self._unreadable else None
        records = [record for record in self.records.values() if self._numbers.get(record.key, unwritten) == number]
        page: dict[str, Any] = {"format": FORMAT, "records": [record.model_dump(mode="json") for record in records]}
        if number == 0 and self._pages > 1:
            page["pages"] = self._pages
        if number == 0 and self.lost:
            page["incomplete"] = True
        return page

    def put(self, records: Iterable[Record]) -> None:
        """Replace records and write their pages.

        :raises OctosparkStateStoreError: if it cannot be written; whoever was about to send must not.
        """
        self._write(self._place(records))

    def put_surely(self, records: Iterable[Record]) -> None:
        """Do the same, again if it fails: the service has answered, and the response must not be lost.

        :raises OctosparkStateStoreError: if it still cannot be written; the next try reconciles.
        """
        pages = self._place(records)
        Retrying(
            retry=retry_if_exception_type(OctosparkStateStoreError),
            stop=stop_after_attempt(4),
            wait=wait_exponential(multiplier=0.1, max=2),
            reraise=True,
        )(self._write, pages)

    def _place(self, records: Iterable[Record]) -> list[int]:
        """Take records in; return the pages to write.

        The first page comes last: it tells of a new one when that is there. Until then nothing on it has been sent.
        """
        given = list(records)
        new = [record for record in given if record.key not in self._numbers]
        pages = {0} if self.lost else set()
        size = self._page_size or max(1, len(new))
        for start in range(0, len(new), size):
            together = new[start : start + size]
            held = sum(number == self._pages - 1 for number in self._numbers.values())
            is_full = self._page_size is not None and held and held + len(together) > size
            if is_full or self._pages - 1 in self._unreadable:
                self._pages += 1
                pages.add(0)
            self._numbers.update({record.key: self._pages - 1 for record in together})
        self.records.update({record.key: record for record in given})
        return sorted((pages - self._unreadable.keys()) | {self._numbers[record.key] for record in given}, reverse=True)

    def _write(self, pages: Sequence[int]) -> None:
        for number in pages:
            problem: str
            try:
                self._store.set(page_key(number), self.page(number))
            except Exception as error:  # noqa: BLE001 - whatever a store raises, the response is the same
                problem = f"{type(error).__name__}: {sanitize(error, 200)}"
            else:
                continue
            raise OctosparkStateStoreError(
                f"Airflow's task state store did not take the record {page_key(number)!r} ({problem})."
            )

    def still_holds(self, records: Iterable[Record]) -> bool:
        """Whether the stored pages still bear the attempts of ``records``: no other process has taken over."""
        requests: dict[Target, str | None] = {}
        given = list(records)
        for number in {self._numbers[record.key] for record in given}:
            try:
                page = Page.model_validate_json(json.dumps(self._get(page_key(number))))
            except ValueError:
                return False
            requests.update({record.key: record.request for record in page.records})
        return all(requests.get(record.key) == record.request for record in given)

    def decision(self, social_account_id: str, request: str) -> object:
        """Return what a user decided about a request that is in doubt, or None."""
        value = self._get(decision_key(social_account_id, request))
        return value.get("decision") if isinstance(value, dict) else value

    def _get(self, key: str) -> Any:
        problem: str
        try:
            return self._store.get(key)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the response is the same
            problem = f"{type(error).__name__}: {sanitize(error, 200)}"
        raise OctosparkStateStoreError(f"Airflow's task state store did not give {key!r} ({problem}).")
