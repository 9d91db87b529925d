"""Report polls that come late because more of them are due than can be made."""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)

LATE = 5.0
"""From this many seconds after its time a poll counts as late. Waiting for a list takes less."""

PERSISTENT = 20.0
"""How long all polls must be late before it is reported, in seconds: many tasks that start together are late once."""

SILENCE = 3600.0
"""The time between two reports, in seconds."""


@dataclass
class Lateness:
    """How late the polls of a poller are.

    :param late_since: when the first of the late polls in a row was made; None if the last one was in time.
    :param reported_at: when it was reported last; None for never.
    """

    late_since: float | None = None
    reported_at: float | None = None

    def record(self, late: float, now: float, waiting: int) -> None:
        """Take in a poll that is made; log a warning if polls have been late for some time.

        :param late: the seconds between the poll's time and now.
        :param now: time in seconds, by the same clock for all polls.
        :param waiting: how many publications are waited for.
        """
        if late < LATE:
            self.late_since = None
            return
        if self.late_since is None:
            self.late_since = now
        is_silent = self.reported_at is not None and now < self.reported_at + SILENCE
        if is_silent or now < self.late_since + PERSISTENT:
            return
        self.reported_at = now
        log.warning(
            "This triggerer cannot keep up: it waits for %d publications, and each poll comes %.0f s late. All are still "
            "polled in turn. Run another triggerer, or set a longer poll_interval on the tasks that wait. If the service is "
            "slow to respond, raise max_in_flight in the connection's extra.",
            waiting,
            late,
        )
