"""The model `preprocessing`: stateless, any number of instances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from trident.contract import PREPROCESSING
from trident.errors import ContentBlockedError, TridentError
from trident.manifest import FILE_NAME, read_manifest, sha256_of
from trident.safety.chain import InputChain, OutputChain
from trident.safety.policy import CharactersSection, Mode, Policy, read_policy
from trident.safety.verdict import Action, Verdict
from trident.settings import Backend, read_settings
from trident.tensors import prompt_arrays, read_prompts
from trident.text.preprocessing import Preprocessing
from trident.text.prompt_templates import read_prompt_templates
from trident.text.tokenizer import read_tokenizer
from trident.triton_adapter.engine_link import EngineLink
from trident.triton_adapter.metrics import CheckMetrics
from trident.triton_adapter.requests import guarded, input_arrays, outputs, request_parameters


class PreprocessingModel:
    """Text or chat messages to token ids."""

    def __init__(self, args: dict[str, str]) -> None:
        settings = read_settings()
        self._policy = read_policy(settings.checks)
        self._has_one_end_id = settings.backend is not Backend.PYTHON
        self._templates = read_prompt_templates(settings.prompts)
        self._link = EngineLink(args)
        self._take_in(self._link.directory)
        self._metrics = CheckMetrics(args, lambda: self._made_with)
        self._link.follow(self._take_in)

    def _take_in(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        policy = self._policy
        preprocessing = Preprocessing(
            read_tokenizer(directory),
            manifest.limits,
            manifest.tokens,
            self._templates,
            InputChain(policy),
            has_output_checks=OutputChain(policy).is_active,
            total_checks=InputChain(Policy(lengths=policy.lengths, characters=CharactersSection(mode=Mode.OFF))),
        )
        self._serving = manifest, preprocessing  # both at once: requests come in another thread
        self._made_with = sha256_of(directory / FILE_NAME), self._templates.sha256, policy.sha256

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request."""
        return [guarded(self._respond, request) for request in requests]

    def finalize(self) -> None:
        """Publish the last counts."""
        self._link.close()
        self._metrics.close()

    def _respond(self, request: Any) -> Any:
        manifest, preprocessing = self._serving
        try:
            request_parameters(request)
            prompts = read_prompts(input_arrays(request, PREPROCESSING), manifest.kind)
            rows = preprocessing.encode(prompts)
            if self._has_one_end_id:
                rows = [row.with_every_eos(manifest.tokens.eos_ids) for row in rows]
        except TridentError as exc:
            self._metrics.rejected(exc)
            if isinstance(exc, ContentBlockedError):
                self._metrics.count([Verdict(exc.check, Action.BLOCK, is_enforced=True, reason=exc.message)])
            raise
        for row in rows:
            self._metrics.count(row.verdicts)
        return pb_utils.InferenceResponse(outputs(prompt_arrays(rows, manifest.tokens.vocab_size)))
