"""All facts in their order, from a machine that was read."""

from __future__ import annotations

from trident.doctor.gpu import gpu_facts, parse_gpus
from trident.doctor.machine import Machine
from trident.doctor.releases import Table, read_table
from trident.doctor.resources import resource_facts
from trident.doctor.software import image_fact, kinds_fact, python_fact, stub_fact, tensorrt_llm_fact, triton_fact
from trident.engines.preflight import Fact
from trident.settings import Settings


def examine(machine: Machine, settings: Settings, table: Table | None = None) -> list[Fact]:
    """One fact a line; `table` is the one that ships with Trident unless a test brings its own."""
    table = table or read_table()
    num_gpus = len(parse_gpus(machine.smi_gpus))
    return [
        python_fact(machine),
        stub_fact(machine),
        triton_fact(machine),
        image_fact(machine, settings.host, table),
        *gpu_facts(machine, table),
        tensorrt_llm_fact(machine, table),
        kinds_fact(machine, num_gpus),
        *resource_facts(machine, num_gpus),
    ]
