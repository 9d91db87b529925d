"""What befalls a triggerer while tasks with `cancel_on_kill` wait in it: nothing is taken back, all go on in their try."""

from __future__ import annotations

import signal
import time

from tests.cluster.cluster import TRIGGERER_TIMEOUT, TRIGGERERS
from tests.cluster.wave import Bench, Waits, Wave

DUE_IN = 180.0


def test_sigkill_of_a_triggerer(bench: Bench) -> None:
    waits = Waits(bench, DUE_IN)
    wave = Wave(bench)
    bench.cluster.kill_tree(TRIGGERERS[0])
    wave.end()
    assert [view.try_number for view in waits.end()] == [1] * Waits.SIZE


def test_sigstop_of_a_triggerer_until_the_other_one_has_taken_over(bench: Bench) -> None:
    waits = Waits(bench, DUE_IN)
    wave = Wave(bench)
    bench.cluster.send_tree(signal.SIGSTOP, TRIGGERERS[0])
    time.sleep(4 * TRIGGERER_TIMEOUT)
    bench.cluster.send_tree(signal.SIGCONT, TRIGGERERS[0])
    wave.end()
    assert [view.try_number for view in waits.end()] == [1] * Waits.SIZE
