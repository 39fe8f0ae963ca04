"""A fake of NVIDIA's C++ backend as a Python model: its tensors and its habits, after the contract; no engine at all.

It says the prompt's own ids again, then the id LAST_ID, then goes on until it is stopped: so a test knows every answer.
It becomes the `1/model.py` of a repository; see tests/server/test_cpp_backend.py.
"""

from __future__ import annotations

import threading

import numpy as np
import triton_python_backend_utils as pb_utils

LAST_ID = 0  # <|endoftext|> of SmolLM2: the EOS id that is not its primary one
FILLER_ID = 28  # after it, when nobody stopped
_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """Decoupled; a request of several rows is answered row by row, each response with its batch_index."""

    def initialize(self, args) -> None:
        self._stopped: set[str] = set()

    def execute(self, requests) -> None:
        for request in requests:
            arrays = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            sender = request.get_response_sender()
            if "stop" in arrays and arrays["stop"].reshape(-1)[0]:
                self._stopped.add(request.request_id())
                sender.send(flags=_FINAL)
                continue
            threading.Thread(target=self._answer, args=(arrays, sender, request.request_id())).start()

    def _answer(self, arrays, sender, request_id) -> None:
        rows = len(arrays["input_ids"])
        for row in range(rows):
            prompt, completion = self._generate(arrays, row)
            if _flag(arrays, "streaming", row):
                parts = [[token_id] for token_id in completion] or [[]]
            else:
                parts = [completion if _flag(arrays, "exclude_input_in_output", row) else prompt + completion]
            for number, ids in enumerate(parts):
                if request_id in self._stopped:
                    sender.send(flags=_FINAL)
                    return
                is_last = row == rows - 1 and number == len(parts) - 1
                sender.send(pb_utils.InferenceResponse(_tensors(ids, row)), flags=_FINAL if is_last else 0)

    def _generate(self, arrays, row) -> tuple[list[int], list[int]]:
        prompt = arrays["input_ids"][row][: int(arrays["input_lengths"].reshape(-1)[row])].tolist()
        limit = int(arrays["request_output_len"].reshape(-1)[row])
        ends = {int(arrays["end_id"].reshape(-1)[row])} if "end_id" in arrays else set()
        if "stop_words_list" in arrays:
            ids, offsets = arrays["stop_words_list"][row]
            assert offsets[0] == 1, "the fake stops at words of one id only"
            ends.add(int(ids[0]))
        completion: list[int] = []
        for token_id in [*prompt, LAST_ID, *[FILLER_ID] * limit][:limit]:
            if token_id in ends:
                break
            completion.append(token_id)
        return prompt, completion


def _flag(arrays, name, row) -> bool:
    return bool(arrays[name].reshape(-1)[row]) if name in arrays else False


def _tensors(ids, row) -> list:
    return [
        pb_utils.Tensor("output_ids", np.array([[ids]], np.int32)),
        pb_utils.Tensor("sequence_length", np.array([[len(ids)]], np.int32)),
        pb_utils.Tensor("batch_index", np.array([[row]], np.int32)),
        pb_utils.Tensor("sequence_index", np.array([[0]], np.int32)),
    ]
