"""Asks an engine of the TensorRT-LLM adapter, hears what only it says, and looks into the double behind it.

Everything here needs the double to be installed: the fixture `double`.
"""

from __future__ import annotations

import importlib

from tests.unit.engines.listener import Listener, ask

QUESTION = (504, 3575, 282, 4649, 314)


class Hearer(Listener):
    """Keeps the log-probabilities and the beams too."""

    def __init__(self, engine) -> None:
        super().__init__(engine)
        self.log_probs, self.top, self.beams = {}, {}, {}

    def hear(self, progress) -> None:
        super().hear(progress)
        if progress.log_probs is not None:
            self.log_probs.setdefault(progress.sequence, []).extend(progress.log_probs)
        if progress.top is not None:
            self.top.setdefault(progress.sequence, []).extend(progress.top)
        if progress.beams:
            self.beams[progress.sequence] = progress.beams

    def answer(self, **parameters):
        """The ids of one request."""
        sequence = ask(QUESTION, **parameters)
        self.run(sequence)
        return sequence, self.ids[sequence]


def llm():
    """The double that was loaded last."""
    return importlib.import_module("tensorrt_llm.llm").loaded[-1]


def log_prob(token_id):
    return importlib.import_module("tensorrt_llm.output").log_prob(token_id)


def batch():
    return importlib.import_module("tensorrt_llm.batch")
