"""The pages agree with the code, and lead to each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.generated import REFERENCE, contents
from tests.docs.inputs import INPUTS, Input
from tests.docs.pages import DOCS, PAGES, README, ROOT

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that a renderer makes of a page's headings."""
    headings = _HEADING.findall(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


CONTENTS = contents()


@pytest.mark.parametrize("page", CONTENTS, ids=lambda page: page.name)
def test_what_is_made_of_the_code_is_what_the_code_says(page: Path) -> None:
    assert page.read_text() == CONTENTS[page], "write it anew: python -m tests.docs"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_pictures_are_small_and_described() -> None:
    shown = {
        (page.parent / target).resolve(): described
        for page in PAGES
        for described, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text())
    }
    assert shown.keys() == set((DOCS / "images").iterdir())
    assert all(shown.values())
    assert all(image.stat().st_size < 200_000 for image in shown)


def test_the_index_leads_to_every_page() -> None:
    linked = set(_LINK.findall((DOCS / "index.md").read_text()))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked


def test_there_are_few_enough_pages_to_read() -> None:
    made_of_code = {REFERENCE.name, "fault-table.md"}
    assert len({page.name for page in DOCS.glob("*.md")} - made_of_code) <= 18


@pytest.mark.parametrize("given", INPUTS, ids=lambda given: f"{given.where} {given.written}"[:60])
def test_what_people_try_is_taken_as_meant_or_refused_with_what_to_write(given: Input) -> None:
    row = given.row()
    if given.refused:
        reason = row.partition("refused: ")[2]
        assert reason.partition(" ")[0].rstrip(":") in {"Connection", given.where}
        assert re.search(r"[Ww]rite|[Pp]ut|remove|must|name each|Use", reason), reason
        assert "octo_live_0123456789" not in reason


def test_the_changelog_has_the_form_that_it_claims() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_the_readme_gets_to_the_first_success_within_a_screen() -> None:
    before = README.read_text().partition("## Contents")[0]
    assert len(before.splitlines()) <= 80
