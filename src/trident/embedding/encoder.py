"""An embedding engine at work: tokenize, put texts of like length together, infer.

openvino_model.{xml,bin}   input_ids, attention_mask  int32[texts, tokens] -> embedding  float32[texts, dimensions]
tokenizer/tokenizer.json   the tokenizers library's own file

It knows nothing of Triton.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import tokenizers

from trident.errors import ManifestError
from trident.manifest import Manifest, RequestLimits

MODEL = "openvino_model.xml"
# A text beyond this is cut before it is tokenized, which bounds the time of a text of megabytes. Fewer tokens than a
# model takes are in so many characters only where nearly all of them are white space or one endless word.
MAX_TEXT_CHARS = 65_536
# Token counts are rounded up to a multiple of this: OpenVINO prepares anew for every shape that it has not met.
_ROUND_TOKENS = 8
_PROPERTIES = {"INFERENCE_PRECISION_HINT": "f32"}  # else 16 bits where the CPU has them: other vectors than elsewhere
_WARM_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Encoded:
    """The texts of one call, in their order."""

    vectors: npt.NDArray[np.float32]  # float32[texts, dimensions], each of length 1
    num_tokens: npt.NDArray[np.int32]  # int32[texts], what was read of each


class Encoder:
    """For one thread at a time."""

    def __init__(
        self, directory: Path, limits: RequestLimits, pad_id: int, options: Mapping[str, str | int | float | bool]
    ) -> None:
        """Load the model and its tokenizer; `options`: properties of OpenVINO's CPU plugin.

        Raises:
            ManifestError: a file cannot be used, or OpenVINO does not know an option.
        """
        self._limits = limits
        self._pad_id = pad_id
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer" / "tokenizer.json"))
            compiled = ov.Core().compile_model(directory / MODEL, "CPU", {**_PROPERTIES, **options})
        except Exception as exc:  # both libraries raise whatever they like
            raise ManifestError(f"the embedding engine cannot be loaded: {exc}") from exc
        self._tokenizer.no_padding()  # a checkpoint's own settings, of its training, lie in the file
        self._tokenizer.enable_truncation(limits.max_input_tokens)
        self._request = compiled.create_infer_request()
        self._dimensions = int(compiled.output(0).get_partial_shape()[1].get_length())

    @staticmethod
    def of(directory: Path, manifest: Manifest) -> Encoder:
        """The engine in `directory`, as its manifest says."""
        return Encoder(directory, manifest.limits, manifest.tokens.pad_id, manifest.options)

    def warm_up(self) -> None:
        """Let OpenVINO prepare for single short texts, which would take some 20 ms at the first of each length."""
        for width in range(_ROUND_TOKENS, _WARM_TOKENS + 1, _ROUND_TOKENS):
            self._infer([[self._pad_id] * width], width)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The vector of each text; what is beyond `max_input_tokens` is not read. An empty text has a vector too."""
        rows = [one.ids for one in self._tokenizer.encode_batch_fast([text[:MAX_TEXT_CHARS] for text in texts])]
        num_tokens = np.array([len(ids) for ids in rows], np.int32)
        vectors = np.empty((len(rows), self._dimensions), np.float32)
        for chosen, width in self._batches(num_tokens):
            vectors[chosen] = self._infer([rows[number] for number in chosen], width)
        return Encoded(vectors, num_tokens)

    def _batches(self, num_tokens: npt.NDArray[np.int32]) -> Iterator[tuple[list[int], int]]:
        """(numbers of texts, tokens that the longest is padded to), the shortest texts first."""
        chosen: list[int] = []
        width = 0
        for number in np.argsort(num_tokens, kind="stable").tolist():
            wider = -(-int(num_tokens[number]) // _ROUND_TOKENS) * _ROUND_TOKENS
            is_full = len(chosen) == self._limits.max_num_seqs
            if chosen and (is_full or wider * (len(chosen) + 1) > self._limits.max_num_batched_tokens):
                yield chosen, width
                chosen = []
            chosen.append(number)
            width = wider
        if chosen:
            yield chosen, width

    def _infer(self, rows: list[list[int]], width: int) -> npt.NDArray[np.float32]:
        ids = np.full((len(rows), width), self._pad_id, np.int32)
        mask = np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        found = self._request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)
        vectors: npt.NDArray[np.float32] = found[0]
        return vectors
