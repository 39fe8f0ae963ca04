"""The figures mean what their names say, on distributions that can be worked out by hand."""

import math

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.unit.manifests import MANIFEST
from trident.errors import EngineError, HostError, InvalidRequestError, ManifestError
from trident.evaluate.quality import (
    WINDOW_TOKENS,
    check_quality,
    compare,
    held_out_text,
    log_softmax,
    measure_quality,
    token_windows,
)
from trident.evaluate.scorer import load_scorer
from trident.manifest import EngineKind, write_manifest

VOCAB = 8
WINDOWS = np.arange(4 * VOCAB, dtype=np.int64).reshape(4, VOCAB) % VOCAB


class Fixed:
    """Gives the next token of the count `probability`, and the others the rest in equal parts."""

    def __init__(self, probability, name="fixed"):
        self.name = name
        self.probability = probability

    def logits(self, input_ids):
        rest = (1 - self.probability) / (VOCAB - 1)
        table = np.full((len(input_ids), VOCAB), math.log(rest), np.float32)
        table[np.arange(len(input_ids)), (input_ids + 1) % VOCAB] = math.log(self.probability)
        return table + 3  # any constant; log_softmax takes it out


@pytest.mark.parametrize("probability", [0.5, 0.25])
def test_perplexity_is_one_over_the_probability_of_what_comes(probability):
    figures = compare(Fixed(probability), None, WINDOWS)
    assert figures == {"perplexity": pytest.approx(1 / probability, rel=1e-4), "num_tokens": 4 * (VOCAB - 1)}


def test_a_model_agrees_with_itself():
    figures = compare(Fixed(0.5), Fixed(0.5), WINDOWS)
    assert figures["perplexity_ratio"] == pytest.approx(1)
    assert figures["kl_mean"] == pytest.approx(0, abs=1e-6)
    assert figures["greedy_agreement"] == 1


def test_divergence_is_of_the_other_from_this_one():
    """sum p_other log (p_other / p_this), over the whole vocabulary."""
    this, other = 0.5, 0.25
    rest = [(1 - value) / (VOCAB - 1) for value in (this, other)]
    expected = other * math.log(other / this) + (1 - other) * math.log(rest[1] / rest[0])
    figures = compare(Fixed(this), Fixed(other), WINDOWS)
    assert figures["kl_mean"] == pytest.approx(expected, rel=1e-4)
    assert figures["kl_p99"] == pytest.approx(expected, rel=1e-4)
    assert figures["perplexity_ratio"] == pytest.approx(other / this, rel=1e-4)
    assert figures["greedy_agreement"] == 1


def test_a_model_that_always_expects_something_else_agrees_nowhere():
    assert compare(Fixed(0.01), Fixed(0.9), WINDOWS)["greedy_agreement"] == 0


def test_logits_that_are_no_numbers_are_an_error():
    broken = Fixed(0.5, "broken@1")
    broken.probability = float("nan")
    with pytest.raises(EngineError, match=r"broken@1 gives log-probabilities that are no numbers"):
        compare(broken, None, WINDOWS)


def test_log_softmax_is_exact_for_large_logits():
    found = log_softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))
    assert found[0] == pytest.approx([math.log(0.5)] * 2)
    assert np.exp(found).sum(axis=1) == pytest.approx([1, 1])


def checkpoint(folder, words):
    folder.mkdir()
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_text_is_cut_into_whole_windows(tmp_path):
    folder = checkpoint(tmp_path / "a", ["x", "y"])
    windows = token_windows(folder, "y " * (2 * WINDOW_TOKENS + 7), None)
    assert windows.shape == (2, WINDOW_TOKENS)
    assert token_windows(folder, "y " * (2 * WINDOW_TOKENS), WINDOW_TOKENS).shape == (1, WINDOW_TOKENS)
    with pytest.raises(InvalidRequestError, match="the text has 3 tokens; one window of 512 is needed"):
        token_windows(folder, "x y x", None)


def test_a_window_begins_as_the_tokenizer_begins_a_text(tmp_path):
    """Gemma's and Llama's begin with a token of their own; SmolLM's with none."""
    folder = checkpoint(tmp_path / "a", ["x", "y", "<s>"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    tokenizer.save(str(folder / "tokenizer.json"))
    windows = token_windows(folder, "y " * (2 * WINDOW_TOKENS), None)
    assert windows[:, 0].tolist() == [2, 2]
    assert (windows[:, 1:] == 1).all()
    plain = token_windows(checkpoint(tmp_path / "b", ["x", "y"]), "y " * WINDOW_TOKENS, None)
    assert (plain == 1).all()


def test_two_tokenizers_cannot_be_compared(tmp_path):
    one, other = checkpoint(tmp_path / "a", ["x", "y"]), checkpoint(tmp_path / "b", ["y", "x"])
    with pytest.raises(ManifestError, match="different tokenizers"):
        measure_quality(one, other, text="x y " * WINDOW_TOKENS)


def test_a_folder_that_is_nothing_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"neither an engine .* nor a checkpoint"):
        measure_quality(checkpoint(tmp_path / "a", ["x"]), text="x " * WINDOW_TOKENS)
    with pytest.raises(ManifestError, match=r"tokenizer\.json cannot be used"):
        measure_quality(tmp_path / "nothing", text="x")


def test_the_text_of_the_project_is_long_and_plain():
    text = held_out_text()
    assert text.startswith("CHAPTER XVII\n")
    assert "Gutenberg" not in text
    assert 150_000 < len(text) < 250_000


def test_bounds_that_hold_are_silent():
    check_quality({"max_perplexity": 20.0, "min_greedy_agreement": 0.9, "max_kl_mean": None},
                  {"perplexity": 19.9, "greedy_agreement": 0.95})  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"max_perplexity": 20.0}, r"perplexity is 22, 2 \(10\.0%\) above the recipe's max_perplexity 20"),
        ({"min_greedy_agreement": 0.9}, r"greedy_agreement is 0\.81, 0\.09 \(10\.0%\) below"),
        ({"max_kl_mean": 0.1}, "kl_mean was not measured"),
    ],
)
def test_a_bound_that_does_not_hold_says_by_how_much(bounds, message):
    with pytest.raises(EngineError, match=message):
        check_quality(bounds, {"perplexity": 22.0, "greedy_agreement": 0.81})


@pytest.mark.parametrize("kind", ["replay", "tensorrt_llm"])
def test_an_engine_that_gives_no_log_probabilities_is_refused_by_kind(tmp_path, kind):
    write_manifest(tmp_path, MANIFEST.model_copy(update={"kind": EngineKind(kind)}))
    with pytest.raises((ManifestError, HostError), match=r"simulated|of kind tensorrt_llm"):
        load_scorer(tmp_path)
