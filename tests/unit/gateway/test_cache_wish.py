"""What a request's headers wish of the cache holds whatever API it comes by."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.gateway.openai_api.stored_app import stored_app

BODIES = {
    "/v1/chat/completions": {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4},
    "/v1/completions": {"model": "chat", "prompt": "hi", "max_tokens": 4},
    "/v1/responses": {"model": "chat", "input": "hi", "max_output_tokens": 4},
    "/generate": {"prompt": "hi"},
    "/v2/models/chat/generate": {"text_input": "hi", "max_tokens": 4},
}


@pytest.mark.parametrize("path", BODIES)
def test_a_wish_that_nobody_knows_is_refused_by_every_api(tmp_path, path):
    async def ask():
        async with stored_app(tmp_path, main=[]) as (_, client_of):
            return await client_of("team").post(path, json=BODIES[path], headers={"x-trident-cache": "always"})

    answer = asyncio.run(ask())
    assert answer.status_code == 400
    assert "x-trident-cache must be 'sampled'" in answer.text
