"""The parts that run engines: memory, bandwidth, arithmetic. GPUs from their data sheets, this CPU by a short probe."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trident.errors import SettingsError, did_you_mean
from trident.memory import available_memory_bytes


@dataclass(frozen=True)
class Part:
    """One device. Rates are dense peaks; what of them is reached says `Efficiency` in rates.py."""

    name: str
    memory_bytes: int  # what its driver reports as total
    bytes_per_s: float
    flops: dict[str, float]  # by the precision of the multiplication: "16", "8", "fp8", "fp4"
    link_bytes_per_s: float  # to one other device, one way
    overhead_s: float  # of a step that does nothing
    source: str

    @property
    def is_cpu(self) -> bool:
        """Whether it is this machine's processor."""
        return self.name == "cpu"


# float32 operations of a core in a cycle: two fused multiply-adds on each lane (Intel's optimization manual, 2).
_PER_CYCLE = {"avx512f": 64, "avx2": 32, "asimd": 16}
_USUAL_HERTZ = 2.5e9  # Arm's /proc/cpuinfo has no clock
_MIB = 1 << 20
_NVLINK = "NVLink: half of the data sheet's total"


def _gpu(
    name: str, mib: int, tb_per_s: float, tflops: tuple[float, ...], link_gb_per_s: float, source: str
) -> tuple[str, Part]:
    """tflops: dense, of 16 bits, INT8, FP8 and FP4, as far as it has them."""
    flops = {key: value * 1e12 for key, value in zip(("16", "8", "fp8", "fp4"), tflops, strict=False) if value}
    return name, Part(name, mib * _MIB, tb_per_s * 1e12, flops, link_gb_per_s * 1e9, 1e-3, source)


# Memory: `nvidia-smi`'s total. Data sheets print TFLOPS with sparsity; dense is half of it.
GPUS: dict[str, Part] = dict(
    [
        _gpu("h100", 81559, 3.35, (989, 1979, 1979), 450, f"NVIDIA H100 data sheet, SXM5 80 GB; {_NVLINK}"),
        _gpu("h200", 143771, 4.8, (989, 1979, 1979), 450, f"NVIDIA H200 data sheet, SXM 141 GB; {_NVLINK}"),
        _gpu("b200", 183359, 8.0, (2250, 4500, 4500, 9000), 900, f"NVIDIA DGX B200 data sheet, one of 8; {_NVLINK}"),
        _gpu("a100", 81920, 2.039, (312, 624), 300, f"NVIDIA A100 data sheet, SXM4 80 GB; {_NVLINK}"),
        _gpu("l40s", 46068, 0.864, (362, 733, 733), 32, "NVIDIA L40S data sheet; PCIe 4.0 x16"),
        _gpu("l4", 23034, 0.3, (121, 242.5, 242.5), 32, "NVIDIA L4 data sheet; PCIe 4.0 x16"),
        _gpu("rtx4090", 24564, 1.008, (165.2, 660.6, 330.3), 32, "NVIDIA Ada whitepaper, FP32 accumulate; PCIe 4.0"),
    ]
)


def find_part(name: str) -> Part:
    """A GPU of the table, or this machine's CPU.

    Raises:
        SettingsError: no such part; says which there are.
    """
    if name == "cpu":
        return probe_cpu()
    if name not in GPUS:
        raise SettingsError(f"unknown --gpu '{name}'{did_you_mean(name, GPUS)}; known: {', '.join(GPUS)}, cpu")
    return GPUS[name]


def probe_cpu(clock: Callable[[], float] = time.perf_counter, cpuinfo: Path = Path("/proc/cpuinfo")) -> Part:
    """This machine's processor: bandwidth by copies of 64 MB (0.2 s), arithmetic by cores x clock x vector width.

    A product of matrices would measure another library's kernels, and little else while the machine is busy.
    """
    source, target = np.ones(1 << 23, np.float64), np.empty(1 << 23, np.float64)
    copy_s = _fastest(lambda: np.copyto(target, source), clock)
    cores = len(os.sched_getaffinity(0))
    text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^cpu MHz\s*: ([\d.]+)", text, re.MULTILINE)
    hertz = 1e6 * float(found[1]) if found else _USUAL_HERTZ
    per_cycle = next((number for flag, number in _PER_CYCLE.items() if re.search(rf"\b{flag}\b", text)), 16)
    flops = cores * hertz * per_cycle
    return Part(
        name="cpu",
        memory_bytes=available_memory_bytes(),
        bytes_per_s=2 * source.nbytes / copy_s,  # read and written
        flops={"16": flops, "8": flops},
        link_bytes_per_s=0.0,
        overhead_s=1.5e-3,
        source=f"copies at {2 * source.nbytes / copy_s / 1e9:.1f} GB/s; {cores} cores, {hertz / 1e9:.1f} GHz, "
        f"{per_cycle} operations a cycle",
    )


def _fastest(action: Callable[[], object], clock: Callable[[], float], rounds: int = 7) -> float:
    found = []
    for _ in range(rounds):
        start = clock()
        action()
        found.append(clock() - start)
    return min(found)
