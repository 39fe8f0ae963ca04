"""The figures: perplexity over a text, and how far one model's choices are from another's at the same places.

perplexity        exp of the mean negative log-likelihood of each token, in windows that do not overlap, without the
                  first token of each (https://huggingface.co/docs/transformers/perplexity, stride = window); where
                  the tokenizer begins texts with a token of its own, that stands there, as llama.cpp has it
kl_mean, kl_p99   Kullback-Leibler divergence of the other's next-token distribution from this one's, in nats,
                  over the whole vocabulary: sum p_other * (log p_other - log p_this)
greedy_agreement  share of places at which both find the same token most probable
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from trident.errors import EngineError, InvalidRequestError, ManifestError
from trident.evaluate.scorer import Scorer, load_scorer
from trident.manifest import FILE_NAME

WINDOW_TOKENS = 512  # as llama.cpp's perplexity tool; 100 MB of logits for a vocabulary of 49,152
Report = Callable[[int, int], None]  # windows done, windows in all


def held_out_text() -> str:
    """The text that ships with Trident: public domain, and no quantizer calibrates on it (held_out/README.md)."""
    return (files("trident.evaluate") / "held_out" / "tom-sawyer-2.txt").read_text(encoding="utf-8")


def measure_quality(
    engine: Path,
    against: Path | None = None,
    *,
    text: str | None = None,
    max_tokens: int | None = None,
    report: Report | None = None,
) -> dict[str, float]:
    """The figures of an engine or checkpoint, named as above; with `against` also of that one, and of the two together.

    Args:
        engine: directory of an engine or of a Hugging Face checkpoint.
        against: another one with the same tokenizer.
        text: [default: the held-out text].
        max_tokens: of the text, from its start.
        report: told of every window.

    Raises:
        ManifestError: one of them cannot be loaded, or their tokenizers differ.
        HostError: what it takes to load it is not installed.
        InvalidRequestError: the text is shorter than one window.
    """
    text = held_out_text() if text is None else text
    windows = token_windows(engine, text, max_tokens)
    if against is not None and not np.array_equal(windows, token_windows(against, text, max_tokens)):
        raise ManifestError(f"{against} and {engine} have different tokenizers; their figures cannot be compared")
    scorer = load_scorer(engine)
    other = load_scorer(against) if against is not None else None
    return compare(scorer, other, windows, report)


def token_windows(directory: Path, text: str, max_tokens: int | None) -> npt.NDArray[np.int64]:
    """int64[windows, WINDOW_TOKENS] of the text, the rest left out; each begins as the tokenizer begins a text.

    Raises:
        ManifestError: the directory has no tokenizer.
        InvalidRequestError: the text is too short.
    """
    all_ids, first_id = _tokenize(directory, text)
    ids = np.array(all_ids[:max_tokens], dtype=np.int64)
    num_windows = len(ids) // WINDOW_TOKENS
    if not num_windows:
        raise InvalidRequestError(f"the text has {len(ids)} tokens; one window of {WINDOW_TOKENS} is needed")
    windows = ids[: num_windows * WINDOW_TOKENS].reshape(num_windows, WINDOW_TOKENS)
    if first_id is not None:
        windows[:, 0] = first_id  # the first token is not scored; models that are used to it are lost without
    return windows


def compare(
    scorer: Scorer, other: Scorer | None, windows: npt.NDArray[np.int64], report: Report | None = None
) -> dict[str, float]:
    """The figures of loaded scorers; see `measure_quality`. Both read each window before the next is read."""
    losses, other_losses, divergences, agreements = [], [], [], []
    for number, window in enumerate(windows, start=1):
        log_probs = log_softmax(scorer.logits(window)[:-1])
        losses.append(_losses(log_probs, window))
        if other is not None:
            other_log_probs = log_softmax(other.logits(window)[:-1])
            if other_log_probs.shape != log_probs.shape:
                sizes = f"{log_probs.shape[1]} and {other_log_probs.shape[1]}"
                raise ManifestError(f"{scorer.name} and {other.name} have vocabularies of {sizes} tokens")
            other_losses.append(_losses(other_log_probs, window))
            divergences.append((np.exp(other_log_probs) * (other_log_probs - log_probs)).sum(axis=1))
            agreements.append(log_probs.argmax(axis=1) == other_log_probs.argmax(axis=1))
        if report is not None:
            report(number, len(windows))
    figures = {"perplexity": _perplexity(losses, scorer), "num_tokens": float(sum(map(len, losses)))}
    if other is not None:
        figures["perplexity_against"] = _perplexity(other_losses, other)
        figures["perplexity_ratio"] = figures["perplexity"] / figures["perplexity_against"]
        figures["kl_mean"] = float(np.concatenate(divergences).mean())
        figures["kl_p99"] = float(np.quantile(np.concatenate(divergences), 0.99))
        figures["greedy_agreement"] = float(np.concatenate(agreements).mean())
    return {name: float(f"{value:.6g}") for name, value in figures.items()}


def check_quality(bounds: Mapping[str, float | None], figures: Mapping[str, float]) -> None:
    """Compare the figures with bounds named `max_<figure>` and `min_<figure>`; a bound of None is none.

    Raises:
        EngineError: a figure is beyond its bound; says by how much. Or it was not measured.
    """
    for name, bound in bounds.items():
        side, _, figure = name.partition("_")
        if bound is None:
            continue
        if figure not in figures:
            raise EngineError(f"the recipe demands {name} {bound:g}, and {figure} was not measured")
        value = figures[figure]
        if (side == "max" and value > bound) or (side == "min" and value < bound):
            raise EngineError(
                f"the engine is not good enough: {figure} is {value:g}, {abs(value - bound):.3g} "
                f"({abs(value / bound - 1):.1%}) {'above' if side == 'max' else 'below'} the recipe's {name} {bound:g}"
            )


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[tokens, vocab_size], natural; each row's exponentials sum to 1."""
    shifted: npt.NDArray[np.float32] = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return shifted


def _losses(log_probs: npt.NDArray[np.float32], window: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    losses: npt.NDArray[np.float32] = -log_probs[np.arange(len(log_probs)), window[1:]]
    return losses


def _perplexity(losses: list[npt.NDArray[np.float32]], scorer: Scorer) -> float:
    mean = np.concatenate(losses).mean(dtype=np.float64)
    if not np.isfinite(mean):
        raise EngineError(f"{scorer.name} gives log-probabilities that are no numbers")
    return float(np.exp(mean))


def _tokenize(directory: Path, text: str) -> tuple[list[int], int | None]:
    """Without special tokens, by the tokenizer.json of an engine or checkpoint; and the id it begins texts with."""
    path = directory / ("tokenizer" if (directory / FILE_NAME).is_file() else "") / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        begun, plain = (tokenizer.encode("a", add_special_tokens=is_whole).ids for is_whole in (True, False))
    except Exception as exc:
        raise ManifestError(f"{path} cannot be used: {exc}") from exc
    return ids, begun[0] if begun[:1] != plain[:1] else None
