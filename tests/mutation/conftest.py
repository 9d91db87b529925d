"""The bench of the random histories, for histories of a few lines."""

from tests.submission_histories.conftest import bench, running_history_bench

__all__ = ["bench", "running_history_bench"]
