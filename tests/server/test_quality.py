"""The figures of the embedded engine are those of its own weights, read through OpenVINO."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trident.evaluate.quality import held_out_text, log_softmax, measure_quality, token_windows
from trident.evaluate.scorer import load_scorer
from trident.manifest import find_engine
from trident_client import Client


@pytest.fixture(scope="module")
def engine(deployment):
    return find_engine(deployment.engines, deployment.engine)


def test_perplexity_over_the_shipped_text_is_that_of_a_language_model(engine):
    """A uniform guess would have 49,152."""
    figures = measure_quality(engine, max_tokens=1024)
    assert figures["num_tokens"] == 2 * 511
    assert 10 < figures["perplexity"] < 100


def test_an_engine_against_itself_differs_in_nothing(engine):
    figures = measure_quality(engine, engine, max_tokens=512)
    assert figures["perplexity_ratio"] == pytest.approx(1, rel=1e-3)
    assert figures["kl_mean"] == pytest.approx(0, abs=1e-3)
    assert figures["greedy_agreement"] > 0.99


def test_the_scorer_finds_what_the_server_says(server, engine):
    """The first greedy token and its log-probability, as near as another attention and an 8-bit KV cache are (0.13)."""
    prompt = "The capital of France is"
    ids = np.array(token_windows(engine, f"{prompt} " * 200, 512)[0][:5])
    log_probs = log_softmax(load_scorer(engine).logits(ids))[-1]
    with Client(server.grpc_url) as client:
        answer = client.generate(prompt, max_tokens=1, top_k=1, return_log_probs=True)
    assert math.isclose(answer.log_probs[0], float(log_probs.max()), abs_tol=0.3)


def test_the_text_has_about_fifty_thousand_tokens(engine):
    assert 45_000 < token_windows(engine, held_out_text(), None).size < 55_000
