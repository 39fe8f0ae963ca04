"""What a LoRA adapter costs: tokens/s beside the model without it, the request that loads it, memory."""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
from pathlib import Path
from typing import Any

from trident.bench.engine_side import EngineSide, Say, Workload, in_turn, side_by_side
from trident.bench.engine_variants import held_mib, link_engine, loaded
from trident.bench.random_lora import LAYER_SHAPES, lora_weights, write_lora
from trident.bench.workload import prompts
from trident.engines.base import Engine, EngineRequest
from trident.evaluate.speed import complete

RANK = 16
NAMES = ("first", "second")  # with room for one of them, so that they take turns
STREAMS = (1, 8)


def measure(built: Path, folder: Path, workload: Workload, repeats: int, say: Say) -> dict[str, Any]:
    """The model against one adapter on all of its layers.

    Args:
        built: directory of an engine of SmolLM2-135M.
        folder: empty.
        workload: what is asked.
        repeats: rounds.
        say: told of each round.
    """
    for seed, name in enumerate(NAMES):
        write_lora(folder / "loras" / name, lora_weights(seed, LAYER_SHAPES, RANK))
    directory = link_engine(built, folder, loras={name: f"loras/{name}" for name in NAMES}, max_loras=1)

    def texts(count: int, seed: int) -> list[str]:
        return prompts(count, workload.prompt_words, seed)

    held = [held_mib()]
    with loaded(directory) as engine:
        sides = {
            "base": EngineSide(directory, engine, workload.request()),
            "adapter": EngineSide(directory, engine, workload.request(lora_name=NAMES[0])),
        }
        for side in sides.values():
            asyncio.run(side(texts(max(STREAMS), 0)))
            held.append(held_mib())
        found = side_by_side(asyncio.run(in_turn(sides, texts, STREAMS, repeats, say)))
        asked = sides["adapter"].requests(texts(2 * repeats, 10_000))
        uses = [
            _ttfts_ms(engine, asked[2 * repeat : 2 * repeat + 2], NAMES[(repeat + 1) % 2])  # not the one that is there
            for repeat in range(repeats)
        ]
    first_ms, next_ms = (statistics.median(times) for times in zip(*uses, strict=True))
    return {
        "rank": RANK,
        **found,
        "first_use_ttft_ms": first_ms,
        "next_use_ttft_ms": next_ms,
        "base_mib": held[1] - held[0],
        "adapter_mib": held[2] - held[1],
    }


def _ttfts_ms(engine: Engine, requests: list[EngineRequest], lora_name: str) -> list[float]:
    """Of one request after the other, with this adapter."""
    adapted = [dataclasses.replace(request, lora_name=lora_name) for request in requests]
    return [1000 * complete(engine, [request])[0].arrivals_s[0] for request in adapted]
