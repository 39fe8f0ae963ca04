"""The files of the pages: served from the package, under a strict policy, kept by browsers while they are true."""

from __future__ import annotations

import re
from importlib.resources import files

import httpx
import pytest

from trident.gateway.app import create_app
from trident.gateway.config_file import parse_config
from trident.gateway.gateway import Gateway

pytestmark = pytest.mark.anyio
ASSETS = files("trident.gateway.pages") / "assets"
SMALL = {"deployments": {"main": {"url": "127.0.0.1:1"}}, "models": {"small": {"deployments": {"main": 1}}}}


def app_of(folder, **server):
    config = parse_config({**SMALL, "server": {"data": str(folder), **server}}, environ={})
    return create_app(Gateway(config))


def client_of(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return app_of(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def client(app):
    return client_of(app)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/operator", "text/html; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/chat.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
    ],
)
async def test_a_page_needs_no_key_and_carries_the_policy(client, path, media_type):
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not any("unsafe" in each for each in policy)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_file_that_a_browser_has_is_not_sent_again(client):
    first = await client.get("/assets/style.css")
    assert first.headers["cache-control"] == "no-cache"
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = await client.get("/assets/style.css", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert (await client.get("/assets/style.css", headers={"if-none-match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/assets/pages_api.py", "/assets/../pages_api.py", "/assets/%2e%2e%2fpages_api.py", "/assets/", "/chat.html"],
)
async def test_nothing_but_the_files_of_the_pages_is_served(client, path):
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


async def test_the_pages_can_be_left_out(tmp_path):
    without = client_of(app_of(tmp_path, pages=False))
    for path in ("/", "/operator", "/assets/style.css"):
        assert (await without.get(path)).status_code == 404


async def test_a_page_is_only_read(client):
    assert (await client.head("/")).status_code == 200
    assert (await client.post("/")).status_code == 405


@pytest.mark.parametrize("page", sorted(each.name for each in ASSETS.iterdir() if each.name.endswith(".html")))
def test_a_page_has_nothing_in_line_and_nothing_from_elsewhere(page):
    """The policy would stop it, and a page that the policy stops is broken."""
    html = (ASSETS / page).read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://", html)
    for source in re.findall(r'<script[^>]*src="([^"]+)"', html) + re.findall(r'<link[^>]*href="([^"]+)"', html):
        assert (ASSETS / source.removeprefix("assets/")).is_file()
    assert len(re.findall("<script", html)) == len(re.findall("<script[^>]* src=", html))
