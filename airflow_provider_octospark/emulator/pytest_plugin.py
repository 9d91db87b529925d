"""The pytest plugin; imports nothing until a test asks for a fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_octospark.emulator import Emulator


@pytest.fixture
def octospark_emulator() -> Iterator[Emulator]:
    """A running Octospark emulator of the test's own: default world, real time, empty ledger."""
    from airflow_provider_octospark.emulator import Emulator

    with Emulator() as emulator:
        yield emulator
