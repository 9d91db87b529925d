"""Which cells of a large table a run visits: `make test` a sample that is the same each time, `make test-more` all of them."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

IS_COMPLETE = os.environ.get("OCTOSPARK_COMPLETE") == "1"
"""Whether all cells are visited."""

SEED = 20261126


def sample(cells: Sequence[T], size: int) -> list[T]:
    """Return ``size`` of the cells, in their order; all of them where the run is complete."""
    if IS_COMPLETE or size >= len(cells):
        return list(cells)
    chosen = random.Random(SEED).sample(range(len(cells)), size)  # noqa: S311
    return [cells[index] for index in sorted(chosen)]
