"""NVIDIA's perf_analyzer: found or fetched, and run on the same load as `trident bench serve`.

The binary is in the wheel `tritonclient` 2.51.0; later wheels need a newer glibc or have none, and PyPI's own
`perf-analyzer` is empty. The two libraries that it lacks on a plain system come from the wheel of tritonserver.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from trident.bench.load import Pressure, Requests, Window
from trident.bench.load_serve import Target
from trident.bench.workload import percentile
from trident.errors import EngineError, HostError
from trident_build.directory import workspace
from trident_build.fetch import cache_folder, extract, fetch_wheel
from trident_build.progress import Progress
from trident_build.sources import PypiSource
from trident_client.request import build_request
from trident_client.sampling import Sampling

SOURCE = PypiSource(
    type="pypi",
    model="perf_analyzer",
    licence="BSD-3-Clause",
    package="tritonclient",
    version="2.51.0",
    sha256="c485bb0123bdf310f90bc8b03d3489b28df2ffed55b30c7eee0b795b48113d52",
    size_bytes=13_956_700,
    file="tritonclient-2.51.0.data/data/bin/perf_analyzer",
)
_NAME = "perf_analyzer"
_LIBRARIES = ("libb64.so.0d", "libcudart.so.12")
_NUM_PROMPTS = 500  # then it begins anew
_NUM_WINDOWS = 3  # of which perf_analyzer takes the mean, once they are within a few percent of each other
_STABILITY_PERCENT = 10
_MAX_WINDOWS = 10


@dataclass(frozen=True)
class Command:
    """A perf_analyzer that runs on this machine."""

    path: Path
    environ: Mapping[str, str]


@dataclass(frozen=True)
class TheirFigures:
    """Of one run; named as in `LoadFigures`."""

    requests_per_s: float  # as it prints it, and so the latencies
    latency_mean_ms: float
    latency_p50_ms: float
    ttft_p50_ms: float  # from the times of every response that it exports


def find_perf_analyzer(progress: Progress, cache: Path | None = None) -> Command:
    """The one on the PATH, else the one in the cache, else fetched into it.

    Raises:
        HostError: offline, a library is missing, or it does not run here; says what to do.
        RecipeError: the index has another wheel than the one that is pinned.
    """
    on_path = shutil.which(_NAME)
    path = Path(on_path) if on_path else _fetched(cache or cache_folder(), progress)
    folder = path.parent if on_path is None else None
    environ = dict(os.environ)
    if folder is not None:
        _link_libraries(folder)
        environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(folder), environ.get("LD_LIBRARY_PATH")]))
    ended = subprocess.run([path, "--version"], env=environ, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines() or ["it said nothing"]
        raise HostError(
            f"perf_analyzer does not run here: {said[-1]}; install trident-llm[cpu], whose tritonserver brings "
            f"{' and '.join(_LIBRARIES)}, or Debian's libb64-0d and NVIDIA's cuda-cudart-12"
        )
    return Command(path, environ)


def run_perf_analyzer(
    command: Command, target: Target, requests: Requests, pressure: Pressure, window: Window, seed: int
) -> TheirFigures:
    """One run of as long as `window` measures, or longer until it calls itself stable.

    Raises:
        EngineError: it failed; says its last line.
    """
    with tempfile.TemporaryDirectory(prefix="trident-perf-analyzer-") as name:
        folder = Path(name)
        data, table, export = folder / "input.json", folder / "table.csv", folder / "export.json"
        data.write_text(json.dumps({"data": input_data(requests, target.model, seed)}), encoding="utf-8")
        arguments = [
            "-m", target.model, "-u", target.url, "-i", "grpc", "--streaming", "--async",
            "--input-data", str(data), "-f", str(table), "--profile-export-file", str(export),
            "-p", str(round(1000 * window.measure_s / _NUM_WINDOWS)), "-r", str(_MAX_WINDOWS),
            *load_arguments(pressure),
        ]  # fmt: skip
        ended = subprocess.run(
            [command.path, *arguments], env=command.environ, capture_output=True, text=True, check=False
        )
        if ended.returncode or not export.is_file():
            said = (ended.stderr.strip() or ended.stdout.strip() or "it said nothing").splitlines()[-1]
            raise EngineError(f"perf_analyzer failed (status {ended.returncode}): {said}")
        return read_figures(table.read_text(encoding="utf-8"), json.loads(export.read_text(encoding="utf-8")))


def input_data(requests: Requests, model: str, seed: int) -> list[dict[str, Any]]:
    """Prompts as perf_analyzer reads them: the very tensors that our client sends."""
    end_id = -1 if requests.ignores_eos else None
    built = [
        build_request("", model, text, Sampling(max_tokens=max_tokens, end_id=end_id), is_streaming=True)
        for text, max_tokens in islice(requests.texts(seed), _NUM_PROMPTS)
    ]
    return [{tensor.name: list(tensor.values) for tensor in request.inputs} for request in built]


def load_arguments(pressure: Pressure) -> list[str]:
    """An open loop is a Poisson process, whose windows are never alike, so that any three will do."""
    if pressure.rate_per_s is not None:
        return ["--request-rate-range", f"{pressure.rate_per_s:g}", "--request-distribution", "poisson", "-s", "100"]
    return ["--concurrency-range", str(pressure.concurrency), "-s", str(_STABILITY_PERCENT)]


def read_figures(table: str, export: Mapping[str, Any]) -> TheirFigures:
    """From the CSV and the exported profile of a run with one load.

    Raises:
        EngineError: they hold no request.
    """
    rows = list(csv.DictReader(table.splitlines()))
    requests = [each for part in export["experiments"] for each in part["requests"] if each["response_timestamps"]]
    if not rows or not requests:
        raise EngineError("perf_analyzer measured no request; raise --duration-s")
    return TheirFigures(
        requests_per_s=float(rows[0]["Inferences/Second"]),
        latency_mean_ms=statistics.fmean(each["response_timestamps"][-1] - each["timestamp"] for each in requests)
        / 1e6,
        latency_p50_ms=float(rows[0]["p50 latency"]) / 1000,
        ttft_p50_ms=percentile([each["response_timestamps"][0] - each["timestamp"] for each in requests], 50) / 1e6,
    )


def _fetched(cache: Path, progress: Progress) -> Path:
    folder = cache / f"{_NAME}-{SOURCE.version}"
    path = folder / _NAME
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with progress.stage("fetch") as stage, workspace(folder, ".unpack-", _NAME) as work:
        extract(SOURCE, fetch_wheel(SOURCE, cache, stage), work / _NAME)
        (work / _NAME).chmod(0o755)
        (work / _NAME).replace(path)
    return path


def _link_libraries(folder: Path) -> None:
    """Those of tritonserver's wheel, under the names that perf_analyzer asks for; it may not be installed."""
    found = importlib.util.find_spec("pytriton")
    if found is None or found.origin is None:
        return
    bundled = Path(found.origin).parents[1] / "nvidia_pytriton.libs"
    for name in _LIBRARIES:
        stem, _, version = name.partition(".so")
        for library in bundled.glob(f"{stem}-*.so{version}*"):
            link = folder / name
            if not link.is_symlink() or link.readlink() != library:
                link.unlink(missing_ok=True)
                link.symlink_to(library)
