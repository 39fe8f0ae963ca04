"""The benchmarks in their smallest form: what they print, never how fast anything is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trident_build import build_engine, find_recipe, read_recipe

ROOT = Path(__file__).parents[2]


def bench(*arguments: str, **environ: str) -> dict:
    result = subprocess.run(
        [sys.executable, "-m", "trident", "bench", *arguments, "--json"],
        cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_text_measures_every_call_of_the_text_path(deployment):
    found = bench("text", "--repeats", "1")
    checks = found.pop("checks_us")
    found.pop("checks_ms")  # the difference of two measurements
    assert found.keys() == {
        "tokenize_ratio", "tokenize_us", "tokenize_raw_us", "decode_us_per_token", "delta_us_per_token",
        "stop_words_us_per_token", "tool_calls_us_per_token", "tool_calls_whole_us_per_token",
        "preprocess_ms", "preprocess_checked_ms",
    }  # fmt: skip
    assert {"input.lengths", "input.characters"} <= checks.keys()
    assert all(value > 0 for value in [*found.values(), *checks.values()])


def test_engine_measures_reuse_and_fairness_beside_the_overhead(deployment):
    found = bench(
        "engine", "--concurrency", "1", "--prompt-words", "4", "--max-tokens", "16",
        "--long-prompt-tokens", "300", "--repeats", "1",
    )  # fmt: skip
    found.pop("ttft_added_ms_c1")  # the difference of two measurements
    assert found.keys() == {
        "ratio_c1", "prefix_tokens", "prefix_ttft_cold_ms", "prefix_ttft_warm_ms", "fair_streams",
        "itl_p99_alone_ms", "itl_p99_beside_long_prompt_ms", "long_prompt_tokens", "long_prompt_ttft_ms",
    }  # fmt: skip
    assert found["long_prompt_tokens"] == 300
    assert all(value > 0 for value in found.values())


def test_pipeline_counts_what_every_process_costs(tmp_path):
    build_engine(read_recipe(find_recipe("replay-smollm2")), tmp_path)
    found = bench("pipeline", "--streams", "8", "--max-tokens", "200", "--repeats", "1", TRIDENT_ENGINES=str(tmp_path))
    stages = found.pop("cpu_us_per_response")
    assert stages.keys() == {"tritonserver", "preprocessing", "engine", "postprocessing", "client"}
    assert found["streams"] == 8
    assert found["tokens_per_response"] >= 1
    assert found["gap_p99_ms"] >= found["gap_p50_ms"] > 0
    for name in ("streamed_tokens_per_s", "tokens_per_s", "responses_per_s", "tpot_ratio", "ttft_p50_ms", "cpu_cores"):
        assert found[name] > 0
    assert all(value >= 0 for value in stages.values())  # a short run may be less than a tick of the kernel's clock
    assert stages["client"] > 0


FEATURES_SMALL = ("--prompt-words", "4", "--context-words", "8", "--max-tokens", "4", "--repeats", "1")


def test_features_compares_prompt_lookup_with_plain_decoding(deployment):
    (found,) = bench("features", "--feature", "prompt-lookup", *FEATURES_SMALL).values()
    assert found.pop("num_draft_tokens") == 5
    assert found.keys() == {"repeating", "other"}
    for figures in found.values():
        assert figures["ratio"] == pytest.approx(
            figures["lookup_tokens_per_s"] / figures["plain_tokens_per_s"], rel=0.01
        )
        assert 1 <= figures["tokens_per_step"] <= 6
        assert 0 <= figures["acceptance_rate"] <= 1
        assert 0 <= figures["equal_fraction"] <= 1


@pytest.mark.soak  # two engines and four loads of an adapter
def test_features_compares_adapters_and_precisions_of_the_cache_too(deployment):
    found = bench("features", "--feature", "lora", "--feature", "kv-precision", *FEATURES_SMALL)
    lora, kv = found["lora"], found["kv_precision"]
    assert lora["c8"].keys() == {
        "base_tokens_per_s", "adapter_tokens_per_s", "ratio", "base_ttft_p50_ms", "adapter_ttft_p50_ms",
    }  # fmt: skip
    assert all(value > 0 for value in [*lora["c1"].values(), *lora["c8"].values(), *kv["c1"].values()])
    assert lora["first_use_ttft_ms"] > lora["next_use_ttft_ms"] > 0  # the first one waits for the adapter
    assert lora["base_mib"] > 0
    assert {"f16_bytes_per_token", "u8_bytes_per_token", "bytes_ratio", "c16", "log_prob_difference"} <= kv.keys()
    assert 0 <= kv["equal_fraction"] <= 1
