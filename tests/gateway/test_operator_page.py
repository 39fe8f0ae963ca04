"""The operator's page in a real Chromium, before a real gateway with two deployments of the simulated engine.

The page asks as somebody elsewhere does (`FORWARDED`): this machine itself would be let in without a key.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from typer.testing import CliRunner

from tests.gateway.browser import overflow_px, too_faint
from tests.gateway.conftest import deployment_of
from tests.gateway.running_gateway import running_gateway
from trident.cli import app

FORWARDED = {"extra_http_headers": {"x-forwarded-for": "203.0.113.7"}}
PHONE = {"viewport": {"width": 375, "height": 720}, "has_touch": True}
EVIL = "<img src=x onerror='window.ran=1'>"


@dataclass(frozen=True)
class Operated:
    """A gateway, a key of its operator and one of the tenant `EVIL`."""

    url: str
    admin: str
    ordinary: str

    def ask(self, model="simulated"):
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "temperature": 0}
        headers = {"authorization": f"Bearer {self.ordinary}"}
        answer = httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)
        assert answer.status_code == 200


def made_key(path, *arguments):
    """`trident keys create`, in a thread: Playwright has an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        command = ["keys", "create", "--config", str(path), "--json", *arguments]
        result = pool.submit(CliRunner().invoke, app, command).result()
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)["key"]


@pytest.fixture(scope="module")
def operated(simulated, tmp_path_factory):
    main = deployment_of(simulated)
    values = {
        "auth": {"required": True},
        "cache": {"enabled": True},
        "tenants": {EVIL: {"limits": {"requests_per_minute": 1000}}},
        "deployments": {"main": {**main, "version": "1", "price_per_s": 0.001}, "canary": {**main, "version": EVIL}},
        "models": {
            "simulated": {
                "deployments": {"main": 3, "canary": 1},
                "aliases": [EVIL],
                "price": {"output_per_million": 2},
            },
            "alone": {"deployments": {"main": 1}},
        },
    }
    with running_gateway(tmp_path_factory.mktemp("operator"), values) as running:
        admin = made_key(running.config_path, "--name", "ops", "--admin")
        ordinary = made_key(running.config_path, "--name", EVIL, "--tenant", EVIL)
        found = Operated(running.url, admin, ordinary)
        for _ in range(3):
            found.ask()
        yield found


@pytest.fixture
def open_operator(operated, open_page):
    """The page with all its figures, signed in with the operator's key."""

    def open_one(key=None, **context):
        page = open_page(f"{operated.url}/operator", key or operated.admin, **FORWARDED, **context)
        page.locator("#reports table").first.wait_for()
        page.locator("#usage-table tbody tr").first.wait_for()
        return page

    return open_one


def figure(page, place, name):
    """What a tile says."""
    return page.locator(f"#{place} > div", has=page.get_by_text(name, exact=True)).locator("dd > div").first


def test_it_asks_for_a_key_and_an_operators_opens_it(operated, open_page):
    page = open_page(f"{operated.url}/operator", **FORWARDED)
    page.get_by_label("API key").fill(operated.admin)
    page.keyboard.press("Enter")
    page.locator("#worker").get_by_text("ready", exact=True).wait_for()
    assert page.locator("#deployments-table tbody th").all_inner_texts()[0].startswith("main")


def test_a_key_without_the_scope_sees_one_line_and_nothing_else(operated, open_page):
    page = open_page(f"{operated.url}/operator", operated.ordinary, **FORWARDED)
    page.get_by_role("button", name="Use another key").wait_for()
    assert page.locator("#notice span").all_inner_texts() == ["this key may not use 'admin'"]
    assert not page.locator("#figures").is_visible()
    page.get_by_role("button", name="Use another key").click()
    page.get_by_label("API key").fill(operated.admin)
    page.keyboard.press("Enter")
    page.locator("#figures").wait_for()
    assert not page.locator("#notice").is_visible()


def test_figures_move_when_requests_run(operated, open_operator):
    page = open_operator()
    rates = page.locator("#plots .card").nth(1)
    rates.locator("summary").click()
    before = int(figure(page, "totals", "Requests").inner_text())
    with page.expect_response("**/admin/overview"):
        operated.ask()
        operated.ask("alone")
    figure(page, "totals", "Requests").get_by_text(str(before + 2), exact=True).wait_for()
    newest = rates.locator("tbody td").first
    assert float(newest.inner_text()) > 0
    assert newest.inner_text() in rates.locator(".plot").get_attribute("aria-label")
    alone = page.locator("#routes-table tbody tr", has_text="alone")
    assert alone.locator("td").nth(3).inner_text() == "1"


def test_every_section_tells_what_is_there(open_operator):
    page = open_operator()
    main = page.locator("#deployments-table tbody tr").first.inner_text()
    assert "ready" in main
    assert "closed" in main
    assert page.locator("#deployments-table .meter").count() == 2
    assert "ops" in page.locator("#keys-table").inner_text()
    assert "requests a minute" in page.locator("#limits-table").inner_text()
    assert page.locator("#reports svg.interval").count() > 4
    assert figure(page, "cache-tiles", "Misses").is_visible()
    assert not page.locator("#semantic").is_visible()
    page.select_option("#usage-by", "day")
    page.locator("#usage-table th", has_text="Day").wait_for()
    page.fill("#keys-filter", "ops")
    assert page.locator("#keys-table tbody tr").count() == 1


def test_a_request_that_is_not_sent_is_explained(open_operator):
    page = open_operator()
    page.get_by_text("Where would a request go?").click()
    page.get_by_label("User").fill("ann")
    page.get_by_label("Prompt").fill("Hi")
    page.get_by_role("button", name="Explain").click()
    page.locator("#explanation tbody tr").nth(1).wait_for()
    assert "model simulated" in page.locator(".reasons").inner_text()
    assert sorted(page.locator("#explanation td:nth-child(2)").all_inner_texts()) == ["canary", "main"]


def test_a_name_is_text_whoever_made_it(open_operator):
    page = open_operator()
    for place in ("keys-table", "limits-table", "usage-table", "routes-table", "deployments-table", "reports"):
        assert EVIL in page.locator(f"#{place}").inner_text()
    assert EVIL in page.locator("#explain-model option").all_text_contents()
    assert page.locator("main img").count() == 0
    assert page.evaluate("window.ran") is None


@pytest.fixture
def slow_page(operated, open_page):
    """The page, whose time goes on when a test says so."""
    page = open_page(f"{operated.url}/operator", operated.admin, **FORWARDED)
    page.clock.install()
    page.goto(f"{operated.url}/operator")
    page.locator("#reports table").first.wait_for()
    return page


def test_it_asks_less_often_while_nobody_answers_and_comes_back(slow_page):
    slow_page.route("**/admin/overview", lambda route: route.fulfill(status=503, body="away"))
    for told_s, wait_s in ((4, 2), (8, 4)):
        slow_page.clock.run_for(1000 * wait_s)
        slow_page.get_by_text(f"Trying again in {told_s} s").wait_for()
    assert slow_page.locator("#figures").is_visible()
    slow_page.unroute("**/admin/overview")
    slow_page.clock.run_for(8000)
    slow_page.locator("#notice").wait_for(state="hidden")


def test_nobody_is_asked_while_nobody_looks(slow_page):
    asked = []
    slow_page.on("request", lambda request: asked.append(request.url))
    show = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    slow_page.evaluate(show, True)
    asked.clear()
    slow_page.clock.run_for(60_000)
    assert asked == []
    with slow_page.expect_response("**/admin/overview"):
        slow_page.evaluate(show, False)
    slow_page.get_by_role("button", name="Pause").click()
    slow_page.clock.run_for(1000)
    asked.clear()
    slow_page.clock.run_for(60_000)
    assert asked == []


def test_of_several_workers_it_follows_one_until_that_is_silent(slow_page):
    def answer_as_another(route):
        found = route.fetch()
        overview = found.json()
        overview["worker"] |= {"pid": 1, "workers": 2}
        overview["traffic"]["requests"] = 777
        route.fulfill(response=found, json=overview)

    requests = figure(slow_page, "totals", "Requests")
    slow_page.route("**/admin/overview", answer_as_another)
    with slow_page.expect_response("**/admin/overview"):
        slow_page.clock.run_for(2000)
    assert requests.inner_text() != "777"
    for _ in range(5):
        with slow_page.expect_response("**/admin/overview"):
            slow_page.clock.run_for(2000)
    requests.get_by_text("777").wait_for()
    assert "worker 1, one of 2" in slow_page.locator("#worker").inner_text()


def test_the_keyboard_is_enough(open_operator):
    page = open_operator()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("#plots summary").first.focus()
    page.keyboard.press("Enter")
    page.locator("#plots table").first.wait_for()
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Space")
    assert page.locator("#pause").get_attribute("aria-pressed") == "true"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    unnamed = page.evaluate("""() => [...document.querySelectorAll("button, input, select, textarea, [tabindex='0']")]
      .filter((each) => !each.labels?.length && !each.ariaLabel && !each.textContent.trim())
      .map((each) => each.outerHTML)""")
    assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(open_operator, scheme):
    page = open_operator(color_scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    assert too_faint(page) == []


def test_a_phone_shows_it_whole(open_operator):
    page = open_operator(**PHONE)
    for summary in page.locator("summary").all():
        summary.click()
    assert overflow_px(page) <= 0
    frame = page.locator("#keys-table .table-frame")
    assert frame.evaluate("each => each.scrollWidth > each.clientWidth")  # it scrolls by itself
    assert page.locator("[data-sign-out]").bounding_box()["height"] < 40  # one line
    box = page.locator("#pause").bounding_box()
    assert box["x"] + box["width"] <= 375
