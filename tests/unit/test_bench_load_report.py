"""Reports of a load, from runs written by hand: table, CSV, JSON, page, comparison."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from trident.bench.load import LoadRun, Pressure, Sample, Window
from trident.bench.load_compare import compare, compare_table
from trident.bench.load_figures import Limits
from trident.bench.load_page import load_page
from trident.bench.load_report import FORMAT, load_csv, load_table, read_report, spread
from trident.bench.load_serve import percentiles, point, timeline
from trident.errors import InvalidRequestError

WINDOW = Window(warmup_s=1.0, measure_s=3.0)


def run(token_s: float) -> LoadRun:
    """One stream from the start to the end, answers of three tokens."""
    starts = [number * 3 * token_s for number in range(int(4 / (3 * token_s)))]
    samples = [Sample(at, at, [at + token_s * n for n in (1, 2, 3)], 8, 3, is_over=True) for at in starts]
    return LoadRun(WINDOW, samples, client_cpu_s=0.3, machine_cpu_s=0.4, loop_lags_s=[0.001])


def report(*speeds: float, loads: tuple[int, ...] = (1, 8), limits: Limits = Limits()) -> dict:  # noqa: B008 - frozen
    points = [point(Pressure(load), [run(speed) for speed in speeds], limits) for load in loads]
    return {
        "format": FORMAT,
        "taken": "2026-01-02T03:04:05+00:00",
        "target": {"url": "host:8001", "protocol": "grpc", "model": "<ensemble>"},
        "requests": {"prompt": "64", "answer": "3", "prefix_words": 0, "num_prefixes": 1, "ignores_eos": True},
        "limits": {"ttft_ms": limits.ttft_ms, "itl_ms": limits.itl_ms},
        "window": {"warmup_s": 1.0, "measure_s": 3.0, "timeout_s": 120.0},
        "repeats": len(speeds),
        "points": points,
    }


def test_a_point_has_the_median_the_range_and_every_run():
    (found, _) = report(0.1, 0.2, 0.125)["points"]
    assert (found["lowest"]["ttft_p50_ms"], found["median"]["ttft_p50_ms"], found["highest"]["ttft_p50_ms"]) == (
        pytest.approx(100), pytest.approx(125), pytest.approx(200),
    )  # fmt: skip
    assert len(found["runs"]) == 3
    assert found["load"] == "1 stream"
    low, high = found["lowest"]["output_tokens_per_s"], found["highest"]["output_tokens_per_s"]
    assert spread(found) == f"±{50 * (high - low) / found['median']['output_tokens_per_s']:.1f}%"


def test_percentiles_are_those_from_0_to_100():
    assert percentiles([3.0, 1.0, 2.0])[::50] == [1.0, 2.0, 3.0]
    assert len(percentiles([1.0])) == 101
    assert percentiles([]) == []


def test_a_timeline_holds_every_token_and_who_was_in_flight():
    found = timeline(run(0.1))
    assert sum(found["output_tokens_per_s"]) * found["bin_s"] == pytest.approx(39)
    assert set(found["running"]) <= {0, 1}
    assert found["running"][:-1] == [1] * (len(found["running"]) - 1)


def test_the_table_has_a_line_a_load_and_the_warnings():
    one = report(0.1, 0.2)
    one["points"][1]["warnings"] = ["the client is saturated"]
    header, first, second, warning = load_table(one).splitlines()
    assert header.split()[:3] == ["load", "requests/s", "tokens/s"]
    assert (first.startswith("1 stream "), second.startswith("8 streams ")) == (True, True)
    assert warning == "! 8 streams: the client is saturated"


def test_the_csv_has_every_run_and_the_medians():
    rows = list(csv.DictReader(io.StringIO(load_csv(report(0.1, 0.2)))))
    assert [(row["load"], row["run"]) for row in rows] == [
        (load, name) for load in ("1 stream", "8 streams") for name in ("1", "2", "median")
    ]
    assert float(rows[0]["ttft_p50_ms"]) == pytest.approx(100)


def test_a_report_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(report(0.1)), encoding="utf-8")
    assert read_report(path) == report(0.1)


@pytest.mark.parametrize(("text", "said"), [("{", "is not JSON"), ("[]", "is no report"), ("{}", "is no report")])
def test_another_file_is_refused_by_name(tmp_path, text, said):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRequestError, match=said):
        read_report(path)
    with pytest.raises(InvalidRequestError, match=r"cannot read .*b\.json"):
        read_report(tmp_path / "b.json")


def test_a_comparison_has_ratios_of_what_both_measured_and_says_what_is_beyond_the_spread():
    found = compare(report(0.1, 0.11, 0.12), report(0.05, 0.055, 0.06, loads=(8, 32)))
    (only,) = found["points"]
    assert only["load"] == "8 streams"
    assert only["figures"]["ttft_p50_ms"]["ratio"] == pytest.approx(0.5)
    assert only["figures"]["ttft_p50_ms"]["verdict"] == "better"
    assert only["figures"]["output_tokens_per_s"]["verdict"] == "better"
    assert compare(report(0.05), report(0.1))["points"][0]["figures"]["output_tokens_per_s"]["verdict"] == "worse"
    same = compare(report(0.1, 0.12), report(0.11, 0.13))["points"][0]["figures"]["ttft_p50_ms"]
    assert same["verdict"] == "within the spread"


def test_a_comparison_says_what_was_not_the_same():
    other = report(0.1)
    other["requests"]["prompt"] = "128"
    assert compare(report(0.1), other)["differences"] == ["requests.prompt differs: 64 in A, 128 in B"]
    assert "! requests.prompt differs: 64 in A, 128 in B" in compare_table(report(0.1), other).splitlines()


def test_reports_without_a_load_in_common_are_refused():
    with pytest.raises(InvalidRequestError, match="no load in common: 1 stream and 8 streams"):
        compare(report(0.1, loads=(1,)), report(0.1, loads=(8,)))


def test_the_page_holds_every_plot_and_loads_nothing():
    pytest.importorskip("matplotlib")
    one = report(0.1, 0.12, limits=Limits(ttft_ms=110.0))
    one["points"][0]["warnings"] = ["late & <slow>"]
    page = load_page(one)
    assert page.count("<svg") == page.count("</svg>") == 4
    assert not re.search(r"""(src|href)=["']?(https?:|//)|url\((?!#)|@import""", page)
    assert "1 stream: late &amp; &lt;slow&gt;" in page
    assert "&lt;ensemble&gt;" in page
    assert "TTFT at most 110 ms" in page
    assert page == load_page(one)


def test_a_page_of_answers_of_one_token_at_a_rate_has_its_plots_too():
    pytest.importorskip("matplotlib")
    samples = [Sample(1.5, 1.5, [1.7], 8, 1, is_over=True)]
    lone = LoadRun(WINDOW, samples, client_cpu_s=0.3, machine_cpu_s=0.4, loop_lags_s=[0.001])
    one = {**report(0.1), "points": [point(Pressure(None, 2.0), [lone], Limits())]}
    assert load_page(one).count("<svg") == 4
