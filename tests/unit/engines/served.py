"""A dispatcher on a scripted engine, for the tests of its parts."""

from __future__ import annotations

import json
import threading

from tests.unit.engines.scripted_engine import RecordedReply, ScriptedEngine, generation
from tests.unit.manifests import LIMITS
from tests.unit.text import tokenizers_under_test as under_test
from trident.engines.dispatcher import Dispatcher
from trident.engines.pace import Pace
from trident.engines.telemetry import Telemetry
from trident.text.detokenizer import Detokenizer
from trident.text.token_pieces import read_pieces

TOKENIZER = under_test.byte_level_bpe()
DETOKENIZER = Detokenizer(read_pieces(json.loads(TOKENIZER.to_str())))


class Served:
    """A dispatcher on a scripted engine."""

    def __init__(
        self, max_delay_s: float = 0.0, max_queued: int = 8, is_lagging: bool = False, max_running: int = 4,
        max_tokens: int = 1000,
    ) -> None:  # fmt: skip
        self.engine = ScriptedEngine()
        self.gone = threading.Event()
        self.pace = Pace(max_delay_s)
        if is_lagging:
            self.pace.sent(seconds=10.0)
        limits = LIMITS.model_copy(
            update={"max_queued_requests": max_queued, "max_num_seqs": max_running, "max_queued_tokens": max_tokens}
        )
        self.telemetry = Telemetry()
        self.dispatcher = Dispatcher(
            self.engine, lambda _: DETOKENIZER, self.pace, limits, self.telemetry, self.gone.set
        )

    def submit(self, *generations, request_id: str = "", timeout_s: float | None = None) -> RecordedReply:
        reply = RecordedReply()
        self.dispatcher.submit(request_id, generations or [generation()], reply, timeout_s)
        return reply
