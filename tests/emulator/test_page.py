"""The page for people."""

from __future__ import annotations

import re
from html import escape

from airflow_provider_octospark.emulator import Emulator
from tests.emulator.calling import Caller


def test_an_empty_page(emulator: Emulator, caller: Caller) -> None:
    response = caller.tokenless.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    for post in emulator.posts:
        assert post["title"] in response.text
        assert post["id"] in response.text
    for account in emulator.social_accounts:
        assert account["id"] in response.text
    assert "Nothing has been submitted yet." in response.text


def test_nothing_comes_from_elsewhere(caller: Caller) -> None:
    response = caller.http.get("/")
    assert re.findall(r"(?:src|href|url|action|import)\s*[=(]\s*[\"']?(?:https?:)?//", response.text) == []
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_what_happens_is_shown(emulator: Emulator, caller: Caller, x: str, youtube: str) -> None:
    fine, broken, moving = (emulator.posts[number]["id"] for number in range(3))
    emulator.script("fail", post_id=broken, error_message="The text is too long.")
    submitted = [caller.post_now(fine, x).json()["id"], caller.post_now(broken, x).json()["id"]]
    emulator.advance(60)
    submitted.append(caller.post_now(moving, youtube).json()["id"])
    emulator.advance(5)
    emulator.fault("get-post", "status", status=503)
    caller.get_post(fine)
    text = caller.http.get("/").text
    shown = [text.index(each) for each in submitted]
    assert shown == sorted(shown, reverse=True)
    assert "The text is too long." in text
    assert re.search(r'<progress value="\d+" max="\d+">', text)
    link = emulator.scheduled_posts(fine)[0]["publishResults"]["url"]
    assert f'href="{link}"' in text
    assert "503" in text
    published = caller.http.get(link)
    assert published.status_code == 200
    assert emulator.publications()[0]["platform_post_id"] in published.text
    assert caller.http.get("/published/x/1").status_code == 404


def test_every_value_is_escaped(emulator: Emulator, caller: Caller, x: str) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&$script"
    post_id = emulator.add_post(evil, evil)
    emulator.add_account("x", display_name=evil)
    emulator.script("fail", post_id=post_id, times=1, error_message=evil, error_code=evil)
    caller.post_now(post_id, x)
    caller.post_now(post_id, x)
    caller.http.get("/v1/<img src=x onerror=alert(1)>")
    emulator.advance_until_idle()
    link = emulator.scheduled_posts()[-1]["publishResults"]["url"]
    for path in ("/", link):
        text = caller.http.get(path).text
        assert escape(evil) in text
        assert "<img" not in text


def test_the_page_is_no_request_of_a_client(emulator: Emulator, caller: Caller) -> None:
    caller.http.get("/")
    caller.listed("requests")
    caller.http.get("/openapi.json")
    assert emulator.requests() == []
