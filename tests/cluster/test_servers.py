"""The database and the broker are restarted, or away for a while, while requests are under way."""

from __future__ import annotations

import time

import pytest

from tests.cluster.wave import Bench, Wave

AWAY_SECONDS = 15.0


@pytest.mark.parametrize("away", [0.0, AWAY_SECONDS], ids=["restarted", "away"])
def test_postgresql(bench: Bench, away: float) -> None:
    wave = Wave(bench)
    servers, supervisor = bench.cluster.servers, bench.cluster.supervisor
    servers.stop_postgres(supervisor)
    time.sleep(away)
    servers.start_postgres(supervisor)
    wave.end()


@pytest.mark.parametrize("away", [0.0, AWAY_SECONDS], ids=["restarted", "away"])
def test_redis(bench: Bench, away: float) -> None:
    wave = Wave(bench)
    servers, supervisor = bench.cluster.servers, bench.cluster.supervisor
    servers.stop_redis(supervisor)
    time.sleep(away)
    servers.start_redis(supervisor)
    wave.end()
