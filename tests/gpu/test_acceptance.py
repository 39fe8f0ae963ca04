"""An engine on a GPU: it is built, nothing is wrong with it, it answers as its checkpoint would, and how fast."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.gpu.conftest import BUILD_LIMIT_S, BUILDER, TRIDENT
from tests.server.wire import outputs, request, stream_infer
from trident.bench.overhead import run_ensemble
from trident.bench.workload import figures, prompts
from trident.evaluate.quality import held_out_text, log_softmax, token_windows
from trident.evaluate.scorer import load_scorer
from trident.text.tokenizer import read_tokenizer
from trident_client import AsyncClient

NUM_PROMPTS, PROMPT_TOKENS, ANSWER_TOKENS = 16, 128, 32
# Share of greedy tokens that the checkpoint would have chosen too, at the same place of the same text.
# OpenVINO with the very same 4-bit weights comes to 0.85: a small model has many near ties. Not yet measured on a GPU.
LEAST_AGREEMENT = {"fp8": 0.75}
LEAST_AGREEMENT_4_BITS = 0.6
STREAMS, WORDS, MAX_TOKENS = 32, 64, 128
LEAST_RATIO = 0.5  # of the raw LLM API's tokens/s; the aim is 0.95, this only catches what is broken


def test_the_engine_is_built(build):
    assert build.directory is not None, build.log


def test_check_finds_nothing_wrong(engine):
    done = subprocess.run([*TRIDENT, "check", str(engine)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkpoint(recipe, engine, tmp_path_factory):
    """The Hugging Face checkpoint that the engine was made from."""
    folder = tmp_path_factory.mktemp("checkpoint") / "hf"
    command = [*BUILDER, "build", str(recipe), "--checkpoint", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_LIMIT_S)
    if done.returncode:
        pytest.skip(f"no checkpoint to compare with: {done.stderr.strip()}")
    return folder


def answer_ids(server, prompt_ids) -> list[int]:
    """The greedy completion of token ids, by the engine model itself."""
    ids = np.asarray(prompt_ids, np.int32)
    message = request(
        "tensorrt_llm",
        input_ids=("INT32", [1, ids.size], ids.tobytes()),
        input_lengths=("INT32", [ids.size]),
        request_output_len=("INT32", [ANSWER_TOKENS]),
        end_id=("INT32", [-1]),
    )
    (response,) = stream_infer(server.grpc_url, message)
    assert not isinstance(response, str), response
    return outputs(response)["output_ids"][-ANSWER_TOKENS:]


def test_greedy_answers_are_those_that_the_checkpoint_would_give(build, server, checkpoint, tell):
    windows = token_windows(checkpoint, held_out_text(), None)[:NUM_PROMPTS, :PROMPT_TOKENS]
    scorer = load_scorer(checkpoint)
    agreed, log_probs = [], []
    for window in windows:
        answer = np.array(answer_ids(server, window), np.int64)
        rows = log_softmax(scorer.logits(np.concatenate([window, answer]))[PROMPT_TOKENS - 1 : -1])
        agreed.append(rows.argmax(axis=1) == answer)
        log_probs.append(rows[np.arange(ANSWER_TOKENS), answer])
    agreement, log_prob = float(np.mean(agreed)), float(np.mean(log_probs))
    tell(f"{build.name}: agrees with the checkpoint in {agreement:.1%} of {NUM_PROMPTS * ANSWER_TOKENS} greedy tokens")
    tell(f"{build.name}: the checkpoint gives its tokens a mean log-probability of {log_prob:.3f}")
    assert agreement >= LEAST_AGREEMENT.get(build.manifest.precision, LEAST_AGREEMENT_4_BITS)


def test_serving_is_not_far_behind_the_raw_llm_api(build, engine, server, tell):
    texts = prompts(STREAMS, WORDS, seed=1)
    ids = read_tokenizer(engine).encode_prompts(texts, add_special_tokens=True)
    job = {"input_ids": [[int(one) for one in row] for row in ids], "max_tokens": MAX_TOKENS}
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.raw_llm", str(engine)],
        input=json.dumps(job), capture_output=True, text=True, check=False, timeout=BUILD_LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    raw = float(done.stdout.splitlines()[-1])

    async def measure() -> float:
        async with AsyncClient(server.grpc_url) as client:
            await run_ensemble(client, prompts(STREAMS, WORDS, seed=0), MAX_TOKENS)  # warms up
            runs = [await run_ensemble(client, texts, MAX_TOKENS) for _ in range(3)]
        return sorted(figures(run).tokens_per_s for run in runs)[1]

    served = asyncio.run(measure())
    tell(f"{build.name}: {served:.0f} tokens/s at {STREAMS} streams, the raw LLM API {raw:.0f}: {served / raw:.3f}")
    assert served > LEAST_RATIO * raw
