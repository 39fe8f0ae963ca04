"""The text on which quantizers watch activations, cut into samples of equal length."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from tokenizers import Tokenizer

from trident.errors import RecipeError
from trident_build.recipe import Calibration

TEXTS = "texts"  # of the package trident.evaluate: public domain, and not what quality is measured on


def read_text(calibration: Calibration) -> str:
    """The recipe's own text, or the project's.

    Raises:
        RecipeError: it cannot be read, or is empty.
    """
    if calibration.text is None:
        folder = importlib.resources.files("trident.evaluate").joinpath(TEXTS)
        files = sorted((one for one in folder.iterdir() if one.name.endswith(".txt")), key=lambda one: one.name)
        return "\n\n".join(one.read_text(encoding="utf-8") for one in files)
    try:
        text = Path(calibration.text).read_text(encoding="utf-8")
    except OSError as exc:
        raise RecipeError(f"calibration text {calibration.text} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise RecipeError(f"calibration text {calibration.text} is not UTF-8: {exc}") from exc
    if not text.strip():
        raise RecipeError(f"calibration text {calibration.text} is empty")
    return text


def cut_samples(calibration: Calibration, tokenizer: Tokenizer) -> list[str]:
    """`num_samples` pieces of `sample_tokens` tokens each, spread evenly over the text.

    Raises:
        RecipeError: the text is too short; says how long it is.
    """
    ids = tokenizer.encode(read_text(calibration), add_special_tokens=False).ids
    length = calibration.sample_tokens
    num_pieces = len(ids) // length
    if num_pieces < calibration.num_samples:
        raise RecipeError(
            f"the calibration text has {len(ids)} tokens, {calibration.num_samples} samples of {length} need "
            f"{calibration.num_samples * length}; lower num_samples or give a longer text"
        )
    chosen = (number * num_pieces // calibration.num_samples for number in range(calibration.num_samples))
    return [tokenizer.decode(ids[number * length : (number + 1) * length]) for number in chosen]
