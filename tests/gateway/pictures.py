"""The pictures of the pages in the documents, made anew: `python -m tests.gateway.pictures`.

The chat is in the middle of an answer of the embedded model (`trident build smollm2-135m`), so each run's differ in
their figures.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.gateway.browser import wait_until
from tests.gateway.operator_scene import operated_gateway
from tests.gateway.running_gateway import running_gateway
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident.settings import read_settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 720}
CHATS = {
    "chat-light": {"color_scheme": "light", "viewport": DESKTOP},
    "chat-dark": {"color_scheme": "dark", "viewport": DESKTOP},
    "chat-phone": {"color_scheme": "light", "viewport": PHONE, "device_scale_factor": 2},
}
OPERATORS = {  # and the section that is seen
    "operator-light": ("queues", {"color_scheme": "light", "viewport": {"width": 1280, "height": 1000}}),
    "operator-dark": ("comparison", {"color_scheme": "dark", "viewport": {"width": 1280, "height": 1000}}),
    "operator-phone": ("queues", {"color_scheme": "light", "viewport": PHONE, "device_scale_factor": 2}),
}
OPERATED_MS = 150_000  # until the plots have something to show
QUESTIONS = ("What is the capital of France?", "Write a Python function that says whether a number is even.")
SETTINGS = {"temperature": "0", "max_tokens": "300"}


def main() -> None:
    """Start a Triton and a gateway, open the pages, take the pictures."""
    FOLDER.mkdir(exist_ok=True)
    settings = read_settings({}, engines=ROOT / "engines", **free_ports())
    with tempfile.TemporaryDirectory() as folder, running_server(settings) as server:
        values = {
            "deployments": {"main": {"url": server.grpc_url, "metrics_url": f"http://{server.metrics_url}/metrics"}},
            "models": {"smollm2": {"deployments": {"main": 1}}},
        }
        with running_gateway(Path(folder), values) as gateway, sync_playwright() as playwright:
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
            for name, look in CHATS.items():
                page = browser.new_page(**look)
                page.add_init_script(f"sessionStorage.setItem('trident.chat.settings', '{json.dumps(SETTINGS)}')")
                page.goto(gateway.url)
                _chat(page)
                page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")
            _take_operators(browser)
            browser.close()


def _take_operators(browser: Browser) -> None:
    """As this machine, which needs no key."""
    with tempfile.TemporaryDirectory() as folder, operated_gateway(Path(folder)) as url:
        pages = {name: (browser.new_page(**look), section) for name, (section, look) in OPERATORS.items()}
        for page, _ in pages.values():
            page.goto(f"{url}/operator")
        page.wait_for_timeout(OPERATED_MS)
        for name, (page, section) in pages.items():
            if section != "queues":  # which is at the top
                page.locator(f"#{section}").evaluate("each => each.scrollIntoView()")
            page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")


def _chat(page: Page) -> None:
    """To the middle of the second answer."""
    first, second = QUESTIONS
    page.wait_for_selector("#model option[value=smollm2]", state="attached")
    _ask(page, first)
    page.locator(".turn.assistant .actions").wait_for()
    _ask(page, second)
    wait_until(page, "document.querySelector('.turn.running .text')?.textContent.length > 160")


def _ask(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")


if __name__ == "__main__":
    main()
