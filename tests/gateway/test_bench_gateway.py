"""`trident bench gateway` measures a real gateway before a real Triton."""

from __future__ import annotations

from trident.bench.gateway import measure
from trident.bench.stream_client import Workload


def test_every_figure_is_there(simulated):
    """And a LiteLLM that does not start is left out, with the reason."""
    said: list[str] = []
    found = measure(simulated, Workload(4, 50, 8, 0), 3, 1, "no-such-litellm", said.append)
    assert found["throughput_ratio"] > 0
    assert found["ttft_p50_ms"] > 0
    assert found["direct"]["ttft_p50_ms"] > 0  # three requests do not say which is quicker
    assert found["cpu_ms_per_chunk"] >= 0
    assert "litellm" not in found
    assert any("litellm is left out" in line for line in said)
