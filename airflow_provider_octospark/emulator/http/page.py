"""The web page of the emulator: accounts, publications and their counts, prepared posts and the latest requests.

The server renders it with every value escaped. A short script reloads it each second.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable
from datetime import datetime
from html import escape
from importlib import resources
from string import Template
from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from airflow_provider_octospark.emulator.http.charts import performance_row
from airflow_provider_octospark.emulator.http.routes import CalledService
from airflow_provider_octospark.emulator.service.ledger import PublicationEntry, RequestEntry
from airflow_provider_octospark.emulator.service.records import Post, ScheduledPost, SocialAccount
from airflow_provider_octospark.emulator.service.team import Team, UnknownIdError

SHOWN_PUBLICATIONS: Final = 200
"""Maximum number of publications on the page."""

SHOWN_PERFORMANCES: Final = 40
"""Maximum number of publications with their counts on the page."""

SHOWN_REQUESTS: Final = 40
"""Maximum number of requests on the page."""

PLATFORM_NAMES: Final = {
    "x": "X",
    "tiktok": "TikTok",
    "instagram": "Instagram",
    "facebook": "Facebook",
    "youtube": "YouTube",
    "linkedin": "LinkedIn",
    "threads": "Threads",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def _home(service: CalledService) -> HTMLResponse:
    with service.present() as team:
        submissions, publications = service.submissions(), service.publications()
        newest_first = team.publishing.scheduled_posts[: -SHOWN_PUBLICATIONS - 1 : -1]
        main = "\n".join(
            [
                _header(team.now, service.factor(), len(submissions), len(publications)),
                "<h2>Publications</h2>",
                _table(
                    ("Status", "Post", "Account", "Scheduled for", "What came of it"),
                    map(_publication_row, newest_first),
                    "Nothing has been submitted yet.",
                ),
                *_performance(team, [each for each in newest_first if each.status == "published"]),
                "<h2>Social accounts</h2>",
                f'<div class="cards">{"".join(map(_account_card, team.accounts.values()))}</div>',
                "<h2>Prepared posts</h2>",
                _table(("Post", "Id", "Changed"), map(_post_row, team.listed_posts(None)[0]), "No posts."),
                "<h2>Latest requests</h2>",
                _table(
                    ("Time", "Call", "Answer", "Fault"),
                    map(_request_row, service.requests()[: -SHOWN_REQUESTS - 1 : -1]),
                    "No requests yet.",
                ),
            ]
        )
    return _page("Octospark emulator", main)


@router.get("/published/{provider}/{platform_post_id}")
async def _publication(
    service: CalledService, platform_post_id: Annotated[str, Path()], provider: Annotated[str, Path()]
) -> HTMLResponse:
    for entry in service.publications():
        if entry["platform_post_id"] == platform_post_id:
            with service.present() as team:
                post, account = team.post(entry["post_id"]), team.account(entry["social_account_id"])
                if account.provider == provider:
                    return _page(post.title, _published(entry, post, account))
    raise UnknownIdError("There is no such publication.")


@functools.cache
def _shell() -> Template:
    files = resources.files(__package__)
    return Template(files.joinpath("page.html").read_text(encoding="utf-8"))


@functools.cache
def _script() -> str:
    return resources.files(__package__).joinpath("page.js").read_text(encoding="utf-8")


@functools.cache
def _policy() -> str:
    """The policy allows the page's own script only, and no other sources."""
    digest = base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _page(title: str, main: str) -> HTMLResponse:
    content = _shell().substitute(title=escape(title), main=main, script=_script())
    return HTMLResponse(content, headers={"Content-Security-Policy": _policy(), "Cache-Control": "no-store"})


def _header(now: datetime, factor: float, submissions: int, publications: int) -> str:
    speed = "stands still" if factor == 0 else "real time" if factor == 1 else f"{factor:g} x real time"
    return (
        "<header><h1>Octospark emulator</h1>"
        f'<span class="clock">{_timestamp(now)} UTC, {speed}</span>'
        f'<div class="counts">{_count(submissions, "submission")}{_count(publications, "publication")}</div></header>'
    )


def _count(number: int, what: str) -> str:
    return f"<div><b>{number}</b><span>{what}{'' if number == 1 else 's'}</span></div>"


def _table(headings: Iterable[str], rows: Iterable[str], nothing: str) -> str:
    body = "".join(rows)
    if not body:
        return f'<div class="sheet"><div class="none">{nothing}</div></div>'
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    return f'<div class="sheet"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _publication_row(scheduled: ScheduledPost) -> str:
    account = scheduled.account
    return (
        f"<tr><td>{_pill(scheduled.status)}</td>"
        f'<td>{escape(scheduled.post.title)}<div class="sub">submission <code>{escape(scheduled.id)}</code></div></td>'
        f'<td>{PLATFORM_NAMES[account.provider]}<div class="sub">{escape(account.handle)}</div></td>'
        f'<td class="when">{_timestamp(scheduled.scheduled_at)}</td>'
        f"<td>{_result(scheduled)}</td></tr>"
    )


def _result(scheduled: ScheduledPost) -> str:
    parts: list[str] = []
    if scheduled.status == "publishing":
        parts.append(_progress(scheduled))
    if url := scheduled.publish_results.get("url"):
        parts.append(f'<a href="{escape(str(url))}">{escape(scheduled.platform_post_id or "")}</a>')
    elif live := scheduled.platform_post_id or scheduled.publish_state.get("platformPostId"):
        parts.append(f"live all the same: {escape(live)}")
    if scheduled.error_message is not None:
        parts.append(
            f'<div class="error">{escape(scheduled.error_message)}</div>'
            f'<div class="sub">{escape(str(scheduled.error_category))} '
            f"<code>{escape(str(scheduled.error_code))}</code></div>"
        )
    return "".join(parts)


def _performance(team: Team, published: list[ScheduledPost]) -> list[str]:
    if not published:
        return []
    headings = ("Post", "Account", "Collection", "Counts")
    rows = (
        performance_row(each, PLATFORM_NAMES[each.account.provider], team.collection.performance(each, team.now))
        for each in published[:SHOWN_PERFORMANCES]
    )
    return ["<h2>Performance</h2>", _table(headings, rows, "")]


def _progress(scheduled: ScheduledPost) -> str:
    state = scheduled.publish_state
    upload = state.get("uploadProgress")
    if upload is None:
        return "<progress></progress>"
    done, size = upload["nextByteStart"], upload["uploadSize"]
    return (
        f'<progress value="{done}" max="{size}"></progress> '
        f'<span class="sub">{done * 100 // size} % {escape(state.get("providerStatus", ""))}</span>'
    )


def _account_card(account: SocialAccount) -> str:
    return (
        f'<div class="card"><div class="top"><b>{PLATFORM_NAMES[account.provider]}</b>'
        f"{_pill(account.status)}</div>"
        f'<div>{escape(account.display_name)} <span class="sub">{escape(account.handle)}</span></div>'
        f'<code class="id">{escape(account.id)}</code></div>'
    )


def _post_row(post: Post) -> str:
    kind = ' <span class="sub">video</span>' if post.video else ""
    return (
        f'<tr><td>{escape(post.title)}{kind}</td><td><code class="id">{escape(post.id)}</code></td>'
        f'<td class="when">{_timestamp(post.updated_at)}</td></tr>'
    )


def _request_row(entry: RequestEntry) -> str:
    status = "no response" if entry["status"] is None else str(entry["status"])
    bad = ' class="error"' if entry["status"] is None or entry["status"] >= 400 else ""
    return (
        f'<tr><td class="when">{escape(entry["at"][11:19])}</td>'
        f"<td><code>{escape(entry['method'])} {escape(entry['path'])}</code></td>"
        f'<td class="code"><span{bad}>{status}</span></td><td>{escape(entry["fault"] or "")}</td></tr>'
    )


def _published(entry: PublicationEntry, post: Post, account: SocialAccount) -> str:
    return (
        '<div class="sheet publication">'
        f"<b>{escape(account.display_name)}</b> <span class='sub'>{escape(account.handle)}</span>"
        f"<p>{escape(post.text)}</p>"
        f'<div class="sub">Published on {PLATFORM_NAMES[account.provider]} at {escape(entry["at"])}, '
        f"in the emulator only. <code>{escape(entry['platform_post_id'])}</code></div>"
        '<div class="sub"><a href="/">All publications</a></div></div>'
    )


def _pill(status: str) -> str:
    return f'<span class="pill {status}">{status.replace("_", " ")}</span>'


def _timestamp(timestamp: datetime) -> str:
    return f"{timestamp:%Y-%m-%d %H:%M:%S}"
