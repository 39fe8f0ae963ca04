"""The text models by themselves: a prompt's ids and back, over either protocol."""

import asyncio

import pytest

from trident.errors import InvalidRequestError, NotFoundError
from trident_client import AsyncClient
from trident_client.request import Request
from trident_client.tokenization import (
    build_detokenize,
    build_length_probe,
    build_special_probe,
    build_tokenize,
    read_max_output_tokens,
    read_special_tokens,
    read_texts,
    read_token_ids,
)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_text_gives_ids_and_the_ids_the_text(server, protocol):
    async def check():
        url = server.grpc_url if protocol == "grpc" else server.http_url
        async with AsyncClient(url, protocol) as client:
            ids = read_token_ids(await client.infer(build_tokenize("r", "Grüße, two  spaces")))
            texts = read_texts(ids, await client.infer(build_detokenize("r", ids)))
            assert texts.text == "Grüße, two  spaces"
            assert read_special_tokens(await client.infer(build_special_probe("r"))) == (0, 0)  # SmolLM2 has none
            with pytest.raises(InvalidRequestError) as caught:
                await client.infer(build_length_probe("r"))
            assert read_max_output_tokens(caught.value) == 2048
            with pytest.raises(NotFoundError):
                await client.infer(Request("r", "nobody", (), is_streaming=False))

    asyncio.run(check())
