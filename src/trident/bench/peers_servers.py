"""What a user would pick instead: how each peer's server is found and started, at its best on this machine.

Each setting that is not a peer's default is here and says why. docs/performance.md says how to install them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trident.bench.peers_process import Peer

# Where each program is looked for when no option names it: on the PATH.
LLAMA_SERVER, VLLM, TRANSFORMERS = "llama-server", "vllm", "transformers"
_MODEL = "peer"  # what requests call it
_HOST = "127.0.0.1"
_OPENAI = {"model": _MODEL, "temperature": 0, "ignore_eos": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True)
class Load:
    """What all peers are given, as far as a server must know it when it starts."""

    max_streams: int
    max_seq_tokens: int  # of a prompt and its completion


def find_peers(
    load: Load,
    llama_server: str = LLAMA_SERVER,
    ggufs: Sequence[Path] = (),
    vllm: str = VLLM,
    transformers: str = TRANSFORMERS,
    checkpoint: Path | None = None,
) -> tuple[list[Peer], dict[str, str]]:
    """The peers that can be started, and for each other one why not, by its name.

    Args:
        load: see Load.
        llama_server: a name on the PATH, or a path; so are `vllm` and `transformers`.
        ggufs: models for llama-server, each one a peer of its own.
        vllm: see `llama_server`.
        transformers: see `llama_server`.
        checkpoint: folder of the Hugging Face checkpoint for vLLM and transformers.
    """
    found: list[Peer] = []
    left_out: dict[str, str] = {}
    for name, given, models, option, start in (
        (LLAMA_SERVER, llama_server, ggufs, "--gguf FILE", _llama_server),
        (VLLM, vllm, [checkpoint] if checkpoint else [], "--checkpoint DIR", _vllm),
        (TRANSFORMERS, transformers, [checkpoint] if checkpoint else [], "--checkpoint DIR", _transformers),
    ):
        program = shutil.which(given)
        if program is None:
            left_out[name] = f"{given} is no program here; install it (docs/performance.md) and give --{name} PATH"
        elif not models:
            left_out[name] = f"it has no model; give {option} (docs/performance.md says how to make one)"
        else:
            found += [start(program, model, load) for model in models]
    return found, left_out


def _llama_server(program: str, gguf: Path, load: Load) -> Peer:
    precision = re.split(r"[.-]", gguf.stem)[-1]  # Model.Q4_1.gguf, or model-q4_1.gguf
    command = (
        *(program, "--model", str(gguf), "--host", _HOST, "--no-webui", "--threads", str(_num_cores())),
        *("--parallel", str(load.max_streams)),  # streams beyond the slots wait
        *("--ctx-size", str(load.max_streams * load.max_seq_tokens)),  # it is shared out over the slots
        *("--cache-ram", "0"),  # it would copy each slot's KV cache away before the next prompt
        "--port",
    )
    return Peer(f"{LLAMA_SERVER} {precision}", command, _OPENAI)


def _vllm(program: str, checkpoint: Path, load: Load) -> Peer:
    command = (
        *(program, "serve", str(checkpoint), "--served-model-name", _MODEL, "--dtype", "bfloat16", "--host", _HOST),
        *("--max-model-len", str(load.max_seq_tokens), "--max-num-seqs", str(load.max_streams)),
        *("--disable-uvicorn-access-log", "--no-enable-log-requests"),
        "--port",
    )
    # By default it leaves one core to its front end, which is half of a small machine.
    environ = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0", "VLLM_NO_USAGE_STATS": "1"}
    return Peer(f"{VLLM} bf16", command, _OPENAI, environ)


def _transformers(program: str, checkpoint: Path, load: Load) -> Peer:
    num_blocks = load.max_streams * -(-load.max_seq_tokens // 256)  # of 256 tokens
    command = (
        *(program, "serve", str(checkpoint), "--continuous-batching", "--dtype", "bfloat16", "--device", "cpu"),
        *("--cb-num-blocks", str(num_blocks), "--host", _HOST),
        "--port",
    )
    # It knows neither `ignore_eos` nor `stream_options`, and gives the usage anyway.
    fields = {"model": str(checkpoint), "generation_config": '{"do_sample": false, "eos_token_id": -1}'}
    return Peer(f"{TRANSFORMERS} bf16", command, fields, {"HF_HUB_OFFLINE": "1"})


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))
