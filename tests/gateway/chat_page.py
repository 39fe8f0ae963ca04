"""The chat page as a test drives it: ask, wait for the end, or put an answer in the gateway's place."""

from __future__ import annotations

import json

CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "simulated"}


def ask(page, text, **settings):
    """Write it and press Enter. `settings`: by the name of the field."""
    for name, value in settings.items():
        page.fill(f"#{name}", value)
    page.fill("#message", text)
    page.press("#message", "Enter")


def ended(page, number=0):
    """The answer with this number, once it has come to its end."""
    answer = page.locator(".turn.assistant").nth(number)
    answer.locator(".actions").wait_for()
    return answer


def answer_with(page, *events, is_whole=True):
    """Put these events in the place of the gateway's answer."""
    lines = [f"data: {json.dumps({**CHUNK, **event})}\n\n" for event in events]
    body = "".join([*lines, "data: [DONE]\n\n"] if is_whole else lines)
    headers = {
        "x-request-id": "11111111-1111-4111-8111-111111111111",
        "x-trident-deployment": "replay",
        "x-trident-cache": "semantic",
        "x-trident-cache-reason": "cosine 0.95, gate: agrees",
    }
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(status=200, content_type="text/event-stream", headers=headers, body=body),
    )


def text(content, **more):
    return {"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": None}]}
