"""Tokens/s of the engine by itself, without Triton: `python -m tests.gpu.raw_llm ENGINE`, a job in JSON on stdin.

The job is {"input_ids": [[...]], "max_tokens": n}; the last line of stdout is the median of three rounds after one
that warms up. The LLM API gets the very arguments that the adapter gives it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trident.manifest import EngineKind, Manifest, read_manifest

Job = dict[str, list[list[int]] | int]


def main() -> None:
    directory, job = Path(sys.argv[1]), json.load(sys.stdin)
    manifest = read_manifest(directory)
    run = _openvino(directory) if manifest.kind is EngineKind.OPENVINO else _llm_api(directory, manifest)
    num_tokens = len(job["input_ids"]) * job["max_tokens"]
    run(job)
    print(sorted(num_tokens / run(job) for _ in range(3))[1])  # noqa: T201 - the answer


def _llm_api(directory: Path, manifest: Manifest) -> Callable[[Job], float]:
    from tensorrt_llm import SamplingParams  # noqa: PLC0415 - in NVIDIA's image only

    from trident.engines.tensorrt_llm_api import LlmApi  # noqa: PLC0415 - loads PyTorch when it is made

    llm = LlmApi(directory, manifest)._llm  # the object itself: this measures what ours adds to it

    def run(job: Job) -> float:
        sampling = SamplingParams(max_tokens=job["max_tokens"], ignore_eos=True, end_id=-1, pad_id=-1)
        start = time.perf_counter()
        llm.generate(job["input_ids"], sampling, use_tqdm=False)
        return time.perf_counter() - start

    return run


def _openvino(directory: Path) -> Callable[[Job], float]:
    from trident.bench.raw_engine import RawEngine  # noqa: PLC0415 - starts a process

    engine = RawEngine(directory)
    return lambda job: engine.run(job["input_ids"], job["max_tokens"]).wall_s


if __name__ == "__main__":
    main()
