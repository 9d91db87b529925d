"""Metadata that depends on where the repository is: the addresses of the project, and links of the README that an index can follow.

GitHub sets `GITHUB_SERVER_URL` and `GITHUB_REPOSITORY` in its workflows. A build elsewhere does not know the repository: its
description has neither pictures nor links to files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

HOMEPAGE = "https://octospark.ai"

_RELATIVE_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://)([^)\s]+)\)\n?")


class RepositoryHook(MetadataHookInterface):
    """Adds `readme` and `urls`, which `pyproject.toml` calls dynamic."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the two fields."""
        root = Path(self.root)
        repository = _repository()
        release = re.search(
            r'^__version__ = "(.+)"', (root / "airflow_provider_octospark/__init__.py").read_text(), re.MULTILINE
        )
        if release is None:
            raise ValueError("airflow_provider_octospark/__init__.py has no __version__")
        text = with_absolute_links((root / "README.md").read_text(), repository, f"v{release[1]}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = {"Homepage": HOMEPAGE, **_urls(repository)}


def _repository() -> str:
    name = os.environ.get("GITHUB_REPOSITORY")
    return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}" if name else ""


def _urls(repository: str) -> dict[str, str]:
    if not repository:
        return {}
    return {
        "Repository": repository,
        "Documentation": f"{repository}/blob/main/docs/index.md",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def with_absolute_links(text: str, repository: str, release: str) -> str:
    """Return Markdown whose links work outside of the repository.

    :param repository: URL of the repository; empty: links become their text, and pictures are left out.
    :param release: the tag to which the links lead.
    """

    def absolute(link: re.Match[str]) -> str:
        picture, label, path = link.groups()
        end = "\n" if link[0].endswith("\n") else ""
        if repository:
            return f"{picture}[{label}]({repository}/{'raw' if picture else 'blob'}/{release}/{path}){end}"
        return "" if picture else label + end

    return _RELATIVE_LINK.sub(absolute, text)
