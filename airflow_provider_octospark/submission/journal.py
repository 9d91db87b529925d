"""The record of a task instance: pages in Airflow's task state store, with one entry for each target.

All targets of a task share one page. A batch has several, so that requests that leave together are written together. A
page is written before a request leaves and after each response, always whole and in one write. All pages are read once,
when a try begins or resumes. The format has a version; a page of another format is a problem to report, not an empty page.
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
    """A task instance's store of JSON values, which outlives a try."""

    def get(self, key: str) -> Any:
        """Return the value, or None if there is none."""

    def set(self, key: str, value: Any) -> None:
        """Write the value, durably, before returning."""


class MemoryStore:
    """A store for one try and its deferrals, for Airflow before 3.3.

    :param page: the page that a deferral carried, or None.
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
    """Return the store key of a user's decision about a request in doubt.

    The key names the request, so a decision does not apply to a later request.
    """
    return f"{DECISION_KEY}.{social_account_id.lower()}.{request}"


class Journal:
    """A task instance's pages, opened for one try.

    :param store: the store.
    :param is_first_try: whether no try came before.
    :param page_size: maximum number of records on a page. Records that are first put together share a page if they fit.
        None (default) for one page.
    :raises OctosparkStateStoreError: if the store cannot be read or written.

    ``problem`` is None, or says why a page is invalid. The other pages are read, and the invalid one is not changed.
    ``lost`` is true if a page is missing that must have existed, in this try or an earlier one.
    ``unsaved`` has the keys of the records whose responses could not be written.
    """

    def __init__(self, store: Store, *, is_first_try: bool, page_size: int | None = None) -> None:
        self._store = store
        self._page_size = page_size
        self._numbers: dict[Target, int] = {}
        self._pages = 1
        # The invalid pages, by number.
        self._unreadable: dict[int, str] = {}
        self.records: dict[Target, Record] = {}
        self.problem: str | None = None
        self.lost = False
        self.unsaved: set[Target] = set()
        first = self._get(PAGE_KEY)
        if first is None:
            # Airflow takes any 404 for a missing key, also that of a proxy.
            first = self._get(PAGE_KEY)
        if first is None and is_first_try:
            # A first try writes a page first. So a later try without a page knows that it was lost.
            self._write([0])
        elif first is None:
            self.lost = True
        else:
            self._parse(first, 0)
        self._read_others()

    def _read_others(self) -> None:
        number = 1
        # Without the first page the number of pages is not known.
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
            # As JSON text, because strict models accept JSON's types only from JSON.
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
        """Return a name for an unknown request on an invalid page; a user's decision refers to it."""
        held = sorted(self._unreadable.items())
        return hashlib.sha256(f"{'/'.join(key)} {held}".encode("utf-8", "replace")).hexdigest()[:8]

    def page(self, number: int = 0) -> dict[str, Any]:
        """Return a page as JSON."""
        # Targets that were never written are unsent. A single page names them.
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

        :raises OctosparkStateStoreError: if it cannot be written. The caller must not send then.
        """
        given = list(records)
        before = {record.key: self.records.get(record.key) for record in given}
        try:
            self._write(self._place(given))
        except OctosparkStateStoreError:
            # Nothing is sent on it, so the task must not report it.
            self.records = {key: value for key, value in {**self.records, **before}.items() if value is not None}
            raise

    def put_surely(self, records: Iterable[Record]) -> None:
        """Do the same, with retries, because the response must not be lost.

        :raises OctosparkStateStoreError: if it still cannot be written. The record stays in doubt, and the next try
            resolves it.
        """
        given = list(records)
        pages = self._place(given)
        try:
            Retrying(
                retry=retry_if_exception_type(OctosparkStateStoreError),
                stop=stop_after_attempt(4),
                wait=wait_exponential(multiplier=0.1, max=2),
                reraise=True,
            )(self._write, pages)
        except OctosparkStateStoreError:
            self.unsaved.update(record.key for record in given)
            raise

    def _place(self, records: Iterable[Record]) -> list[int]:
        """Assign records to pages; return the pages to write.

        The first page is written last: it names the number of pages once they exist, and nothing is sent before.
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
        """Whether the stored pages still have the requests of ``records``, so that no other process has taken over."""
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
