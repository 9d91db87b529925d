"""Each mutation fits the source, so that a change of the source which would leave a guard untried is noticed at once."""

from __future__ import annotations

from tests.mutation.guards import GUARDS
from tests.mutation.trying import without


def test_each_mutation_fits() -> None:
    assert all(without(guard) for guard in GUARDS)
