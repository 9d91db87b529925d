"""The pytest plugin. It imports nothing until a test uses the fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_octospark.emulator import Emulator


@pytest.fixture
def octospark_emulator() -> Iterator[Emulator]:
    """Yield a running Octospark emulator for the test, with the seed data, real time and an empty ledger."""
    from airflow_provider_octospark.emulator import Emulator

    with Emulator() as emulator:
        yield emulator
