"""A real Chromium without a window, and what a page must never do: log an error, which a breach of its policy is too.

Every test has a context of its own, so nothing is kept from one to the next.
"""

from __future__ import annotations

import os
import shutil
from urllib.parse import urlsplit

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_MS = 10_000
_LOOK_MS = 50
# Of every text that is seen, its contrast with what it stands on (WCAG 2.2, 1.4.3); those that have too little.
_TOO_FAINT = """() => {
  const parse = (colour) => {
    const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
    return { parts: [red, green, blue], alpha };
  };
  const luminance = (parts) => {
    const [red, green, blue] = parts.map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const over = (above, below) => above.parts.map((part, i) => part * above.alpha + below[i] * (1 - above.alpha));
  const ground = (node) => {
    if (node === null) return [255, 255, 255];
    const own = parse(getComputedStyle(node).backgroundColor);
    return own.alpha === 1 ? own.parts : over(own, ground(node.parentElement));
  };
  const found = [];
  for (const node of document.body.querySelectorAll("*")) {
    const holdsText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!(holdsText || node.value) || !node.checkVisibility() || node.matches("option, :disabled")) continue;
    const style = getComputedStyle(node);
    const below = ground(node);
    const lights = [luminance(over(parse(style.color), below)), luminance(below)].sort((a, b) => b - a);
    const ratio = (lights[0] + 0.05) / (lights[1] + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const text = (node.textContent || node.value).slice(0, 60);
    if (ratio < (isLarge ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}: ${text}`);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser():
    """One for a module, not for the session: while Playwright is at work, this thread can run no other event loop."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # root may not use the sandbox
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page_faults():
    """What the pages of a test have logged as errors. A test that causes one on purpose takes it out."""
    return []


@pytest.fixture
def open_page(browser, page_faults):
    """`open_page(url, key=None, **context)`: a page in a context of its own, signed in with `key`.

    `context`: Playwright's, as `color_scheme="dark"` or `viewport={"width": 375, "height": 700}`. At the end of the
    test no page may have logged an error, but for an answer of the API that is one.
    """
    contexts = []

    def note(message):
        is_of_the_api = urlsplit(message.location["url"]).path.startswith(("/v1/", "/admin/"))
        if message.type == "error" and not (message.text.startswith("Failed to load resource") and is_of_the_api):
            page_faults.append(message.text)

    def open_one(url, key=None, **context):
        made = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        contexts.append(made)
        if key is not None:
            made.add_init_script(f"sessionStorage.setItem('trident.key', '{key}')")
        page = made.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.on("console", note)
        page.on("pageerror", lambda error: page_faults.append(str(error)))
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not page_faults


def too_faint(page):
    """The texts that are seen and have less contrast than WCAG's AA asks."""
    return page.evaluate(_TOO_FAINT)


def overflow_px(page):
    """By how much the page is wider than the screen."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def wait_until(page, expression):
    """Playwright's own `wait_for_function` asks the page to evaluate a string, which the policy forbids."""
    for _ in range(_PATIENCE_MS // _LOOK_MS):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(_LOOK_MS)
    raise AssertionError(f"it never became true: {expression}")
