"""The model `postprocessing`: a pure function of one response. One instance only: two would break the order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from trident.contract import POSTPROCESSING
from trident.safety.chain import OutputChain
from trident.safety.policy import read_policy
from trident.settings import read_settings
from trident.tensors import answer_arrays, read_responses
from trident.text.postprocessing import Postprocessing
from trident.text.tokenizer import Detokenizers
from trident.triton_adapter.engine_link import EngineLink
from trident.triton_adapter.metrics import CheckMetrics
from trident.triton_adapter.requests import guarded, input_arrays, outputs


class PostprocessingModel:
    """Token ids to text."""

    def __init__(self, args: dict[str, str]) -> None:
        self._policy = read_policy(read_settings().checks)
        self._link = EngineLink(args)
        self._take_in(self._link.directory)
        self._metrics = CheckMetrics(args)
        self._link.follow(self._take_in)

    def _take_in(self, directory: Path) -> None:
        self._postprocessing = Postprocessing(Detokenizers(directory), OutputChain(self._policy))

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in their order."""
        return [guarded(self._respond, request) for request in requests]

    def finalize(self) -> None:
        """Publish the last counts."""
        self._link.close()
        self._metrics.close()

    def _respond(self, request: Any) -> Any:
        postprocessing = self._postprocessing  # one for the whole response
        answers = [
            postprocessing.decode(response) for response in read_responses(input_arrays(request, POSTPROCESSING))
        ]
        for answer in answers:
            if answer.verdicts:
                self._metrics.count(answer.verdicts)
        return pb_utils.InferenceResponse(outputs(answer_arrays(answers)))
