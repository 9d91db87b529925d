"""The names and times that the DAG file and the tests of a cluster share."""

from __future__ import annotations

from typing import Final

POST_NOW: Final = "cluster_post_now"
BATCH: Final = "cluster_batch"
CANCELLED_BATCH: Final = "cluster_cancelled_batch"
SWITCHED_BATCH: Final = "cluster_switched_batch"
SWITCHED_CONN_ID: Final = "octospark_switched"
"""A connection in Airflow's database, which a test makes and changes."""
WAITS: Final = "cluster_waits"
PUBLISH: Final = "publish"
"""The id of the task that submits, in each of these DAGs."""

DEFAULT_RETRIES: Final = 3
SUBMIT_TIMEOUT: Final = 20.0
"""In seconds, in the connection; by default it is 300."""
SETTLE_TIME: Final = SUBMIT_TIMEOUT + 61.0
"""As short as that allows."""
