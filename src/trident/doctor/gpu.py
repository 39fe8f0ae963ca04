"""Facts about GPUs, their driver and CUDA, from what nvidia-smi printed. No GPU is no fault: a CPU serves too."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trident.doctor.machine import Machine
from trident.doctor.releases import Table, as_numbers
from trident.doctor.software import release_of
from trident.engines.preflight import Fact

_INSTALL = "install NVIDIA's driver, and start a container with --gpus all (NVIDIA Container Toolkit)"
_OLDEST = 8.0  # Ampere: what TensorRT-LLM 1.2 supports
_FP8, _NVFP4 = 8.9, 10.0  # Ada and Hopper; Blackwell


@dataclass(frozen=True)
class SmiGpu:
    """One line of its table."""

    index: int
    name: str
    memory_mib: int
    compute_capability: float  # 9.0 is Hopper
    driver: str

    @property
    def formats(self) -> str:
        """What its tensor cores take."""
        if self.compute_capability >= _NVFP4:
            return "FP8, NVFP4, INT4-AWQ"
        return "FP8, INT4-AWQ" if self.compute_capability >= _FP8 else "INT8-SQ, INT4-AWQ; no FP8"


def parse_gpus(table: str) -> list[SmiGpu]:
    """The rows of `--query-gpu=index,name,memory.total,compute_cap,driver_version`; others are left out."""
    gpus = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        try:
            index, name, memory, capability, driver = cells
            gpus.append(SmiGpu(int(index), name, int(memory), float(capability), driver))
        except ValueError:  # "[N/A]" of a GPU that is being reset, or a line of text
            continue
    return gpus


def gpu_facts(machine: Machine, table: Table) -> list[Fact]:
    """The GPUs one a line, then driver and CUDA."""
    if machine.smi_trouble:
        return [Fact("gpu", False, f"nvidia-smi: {machine.smi_trouble}", _INSTALL)]
    gpus = parse_gpus(machine.smi_gpus)
    if not gpus:
        return [
            Fact("gpu", True, "none; engines for a CPU only"),
            Fact("driver", True, "none"),
            Fact("cuda", True, "none"),
        ]
    return [*(_gpu(gpu) for gpu in gpus), *_alike(gpus), _driver(gpus[0].driver, machine, table), _cuda(machine, table)]


def _gpu(gpu: SmiGpu) -> Fact:
    found = f"{gpu.index}: {gpu.name}, {gpu.memory_mib / 1024:.0f} GiB, sm{gpu.compute_capability * 10:.0f}"
    is_ok = gpu.compute_capability >= _OLDEST
    return Fact("gpu", is_ok, f"{found}, {gpu.formats}", "TensorRT-LLM 1.2 needs Ampere (sm80) or later")


def _alike(gpus: list[SmiGpu]) -> list[Fact]:
    if len({gpu.compute_capability for gpu in gpus}) == 1:
        return []
    fix = "choose GPUs of one kind with CUDA_VISIBLE_DEVICES: an engine runs on the kind that built it"
    return [Fact("gpu", False, "the GPUs are of different architectures", fix)]


def _driver(driver: str, machine: Machine, table: Table) -> Fact:
    release = release_of(machine) if machine.image_server is not None else None
    image = table.image(release) if release else None
    if image is None or image.driver is None or as_numbers(driver) >= as_numbers(image.driver):
        return Fact("driver", True, driver)
    made = f"{driver}; image {image.release} was made with {image.driver}"
    return Fact("driver", True, f"{made}, an older one serves data-centre GPUs only (CUDA forward compatibility)")


def _cuda(machine: Machine, table: Table) -> Fact:
    found = re.search(r"CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)", machine.smi)
    version = found[1] if found else "not said"
    release = release_of(machine) if machine.image_server is not None else None
    image = table.image(release) if release else None
    if image is None or image.cuda is None or not found or as_numbers(version) >= as_numbers(image.cuda)[:2]:
        return Fact("cuda", True, f"{version} of the driver")
    if as_numbers(version)[0] < as_numbers(image.cuda)[0]:
        text = f"{version} of the driver, the image needs {image.cuda}"
        return Fact("cuda", False, text, f"install driver {image.driver or 'of that CUDA'} or later")
    return Fact("cuda", True, f"{version} of the driver, the image has {image.cuda} (same major version)")
