"""What befalls a scheduler while requests are under way."""

from __future__ import annotations

from tests.cluster.cluster import SCHEDULERS
from tests.cluster.wave import Bench, Wave


def test_sigkill_of_a_scheduler(bench: Bench) -> None:
    wave = Wave(bench)
    bench.cluster.kill_tree(SCHEDULERS[0])
    # Workers go on; at most a request that was in doubt waits in a later try.
    wave.end()
