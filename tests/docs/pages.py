"""The pages, and what stands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r"<!-- (generated: (\w+)) -->\n(.*?)<!-- end -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code.

    :param language: what follows the fence.
    :param line: the line of its first character.
    """

    page: Path
    language: str
    line: int
    text: str

    @property
    def name(self) -> str:
        """Where it is, for people."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages, of some languages or of all."""
    found = [block for page in PAGES for block in blocks_of(page)]
    return [block for block in found if not languages or block.language in languages]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    text = page.read_text()
    return [Block(page, match[1], text.count("\n", 0, match.start(2)) + 1, match[2]) for match in _FENCE.finditer(text)]


def section_names(text: str) -> list[str]:
    """Return the names of the generated sections of a page."""
    return [match[2] for match in _SECTION.finditer(text)]


def with_sections(text: str, sections: dict[str, str]) -> str:
    """Return a page with its generated sections replaced."""
    return _SECTION.sub(lambda match: f"<!-- {match[1]} -->\n{sections[match[2]].strip()}\n<!-- end -->", text)
