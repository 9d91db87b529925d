"""A publication's counts as small charts: one for each count, with a point for each snapshot."""

from __future__ import annotations

from html import escape
from typing import Any, Final, TypeGuard

from airflow_provider_octospark.emulator.service.records import ScheduledPost
from airflow_provider_octospark.emulator.service.resources import PerformanceResponse

COUNTS: Final = {
    "impressionCount": "impressions",
    "reachCount": "reach",
    "likeCount": "likes",
    "commentCount": "comments",
    "shareCount": "shares",
    "saveCount": "saves",
}
"""The counts in the order of their charts, and what they are called."""

WIDTH: Final = 88
HEIGHT: Final = 22


def performance_row(scheduled: ScheduledPost, platform: str, performance: PerformanceResponse) -> str:
    """Return the table row of one publication."""
    status, collected_at = performance["collectionStatus"], performance["lastCollectedAt"]
    when = "" if collected_at is None else f'<div class="sub">{escape(collected_at[:19].replace("T", " "))}</div>'
    return (
        f"<tr><td>{escape(scheduled.post.title)}</td>"
        f'<td>{platform}<div class="sub">{escape(scheduled.account.handle)}</div></td>'
        f'<td class="when"><span class="pill {escape(status)}">{escape(status)}</span>{when}</td>'
        f"<td>{''.join(_chart(performance, name) for name in COUNTS)}</td></tr>"
    )


def _chart(performance: PerformanceResponse, name: str) -> str:
    current: Any = performance["current"].get(name)
    number = "–" if current is None else f"{current:,}" if _is_number(current) else str(current)
    points = [(0.0, 0.0)] + [
        (float(each["hoursSincePost"]), float(value))
        for each in performance["snapshots"]
        if _is_number(value := each.get(name))
    ]
    return (
        f'<div class="chart"><b>{escape(number)}</b> <span class="sub">{COUNTS[name]}</span>'
        f"{_line(points) if len(points) > 1 else ''}</div>"
    )


def _line(points: list[tuple[float, float]]) -> str:
    widest = max(x for x, _ in points) or 1.0
    lowest = min(y for _, y in points)
    span = (max(y for _, y in points) - lowest) or 1.0
    placed = [(x / widest * WIDTH, HEIGHT - (y - lowest) / span * HEIGHT) for x, y in points]
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    x, y = placed[-1]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><polyline points="{drawn}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/></svg>'
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
