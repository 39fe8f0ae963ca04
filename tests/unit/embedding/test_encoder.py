"""Promises of the encoder: PyTorch's vectors, whatever a text is computed with."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trident.embedding.encoder import MAX_TEXT_CHARS, Encoder
from trident.errors import ManifestError
from trident.manifest import read_manifest

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))["texts"]
TEXTS = [golden["text"] for golden in GOLDEN]
VECTORS = np.stack([np.frombuffer(base64.b64decode(golden["vector"]), "<f4") for golden in GOLDEN])


def test_the_vectors_are_those_of_pytorch(encoder):
    """Cosine above 0.99999 for every text, odd characters, none at all and one too long among them."""
    found = encoder.encode(TEXTS)
    assert np.all((found.vectors * VECTORS).sum(axis=1) > 0.99999)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)


def test_the_tokens_are_counted_as_they_are_read(encoder):
    assert encoder.encode(TEXTS).num_tokens.tolist() == [golden["num_tokens"] for golden in GOLDEN]


def test_a_text_is_read_to_its_256th_token_and_no_further(encoder):
    """254 words of one token between the two ends; the file's own settings (128 tokens, padded) do not count."""
    words = ["river"] * 254
    vectors = encoder.encode([" ".join(words), " ".join([*words, "fire"]), " ".join([*words[:-1], "fire"])]).vectors
    assert np.allclose(vectors[0], vectors[1], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-3)


@settings(max_examples=12)
@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=20))
def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder, texts):
    expected = [VECTORS[TEXTS.index(text)] for text in texts]
    assert np.all((encoder.encode(texts).vectors * expected).sum(axis=1) > 0.99999)


@settings(max_examples=30)
@given(st.text(max_size=300))
def test_every_text_has_a_finite_vector(encoder, text):
    found = encoder.encode([text])
    assert np.isfinite(found.vectors).all()
    assert 2 <= found.num_tokens[0] <= 256


def test_of_a_text_of_megabytes_the_beginning_counts(encoder):
    beginning = "The town lies on a river. " * 3000
    found = encoder.encode([beginning[:MAX_TEXT_CHARS], beginning + "x" * 5_000_000])
    assert np.allclose(found.vectors[0], found.vectors[1], atol=1e-6)


def test_no_text_has_no_vector(encoder):
    assert encoder.encode([]).vectors.shape == (0, 384)


def test_near_texts_are_nearer_than_far_ones(encoder):
    asked, same, other = encoder.encode(
        ["How do I cook rice?", "What is the way to prepare rice?", "The train leaves at noon."]
    ).vectors
    assert asked @ same > 0.7
    assert asked @ other < 0.3


def test_an_option_that_openvino_does_not_know_is_one_line(embedding_engine):
    manifest = read_manifest(embedding_engine)
    with pytest.raises(ManifestError) as caught:
        Encoder.of(embedding_engine, manifest.model_copy(update={"options": {"NUM_THREADZ": 1}}))
    assert "Unsupported property NUM_THREADZ" in caught.value.message
