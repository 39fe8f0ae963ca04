"""A report of `trident bench serve` as one HTML file that loads nothing: figures, plots, and what they mean."""

from __future__ import annotations

from html import escape
from string import Template

from trident.bench.load_plots import latency_curves, percentile_curves, rate_curves, timelines
from trident.bench.load_report import COLUMNS, Report, spread

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2126; background: #fff }
body { max-width: 1080px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em; margin-bottom: 0 } h2 { font-size: 1.1em; margin: 2em 0 .3em }
p.about { color: #59636e; margin-top: .2em } svg { width: 100%; height: auto }
div.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .25em .45em; text-align: right; border-bottom: 1px solid #e3e6ea }
th:first-child, td:first-child { text-align: left } th { color: #59636e; font-weight: 600; font-size: .9em }
ul.warnings { background: #fdf3e7; border-left: 4px solid #c2512d; padding: .6em 1em .6em 2em }
dt { font-weight: 600 } dd { margin: 0 0 .5em 1.5em }
</style></head><body>
<h1>$title</h1>
<p class="about">$about</p>
$warnings
<div class="wide">$table</div>
<h2>Throughput against load</h2>$rates
<h2>Time to first token and inter-token latency against load</h2>$curves
<h2>Latency by percentile</h2>$percentiles
<h2>Timeline of the last round</h2>$timelines
<h2>What the figures mean</h2>
<dl>
<dt>TTFT</dt><dd>From the moment a request was due to its first response with text.
In an open loop that includes what the client was late.</dd>
<dt>ITL</dt><dd>The gap between two responses of one stream. A response may hold several tokens.</dd>
<dt>TPOT</dt><dd>Time per output token of one request after its first response.</dd>
<dt>Latency</dt><dd>From the moment a request was due to its last response.</dd>
<dt>Goodput</dt><dd>Requests a second that ended within the limits: $limits.</dd>
<dt>Spread</dt><dd>Half of the distance between the lowest and the highest round, over the median, of tokens/s.
Bands in the plots are lowest to highest.</dd>
</dl>
</body></html>
""")


def load_page(report: Report) -> str:
    """The page.

    Raises:
        HostError: matplotlib is not installed.
    """
    target, asked, window = report["target"], report["requests"], report["window"]
    prefix = f", {asked['num_prefixes']} shared prefixes of {asked['prefix_words']}" if asked["prefix_words"] else ""
    about = (
        f"{target['protocol']} at {target['url']}, {report['taken']}. Prompt tokens {asked['prompt']}{prefix}, "
        f"answer tokens {asked['answer']}{'' if asked['ignores_eos'] else ' or fewer'}. {report['repeats']} rounds of "
        f"{window['measure_s']:g} s after {window['warmup_s']:g} s of warm-up; figures are medians of the rounds."
    )
    return _PAGE.substitute(
        title=escape(f"Load on {target['model']}"),
        about=escape(about),
        warnings=_warnings(report),
        table=_table(report),
        rates=rate_curves(report),
        curves=latency_curves(report),
        percentiles=percentile_curves(report),
        timelines=timelines(report),
        limits=escape(_limits(report)),
    )


def _warnings(report: Report) -> str:
    lines = [f"{point['load']}: {warning}" for point in report["points"] for warning in point["warnings"]]
    return f'<ul class="warnings">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def _table(report: Report) -> str:
    rows = [
        [point["load"], *(f"{point['median'][name]:.1f}" for name in COLUMNS.values()), spread(point)]
        for point in report["points"]
    ]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("load", *COLUMNS, "spread"))
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _limits(report: Report) -> str:
    limits = report["limits"]
    said = [
        f"{name} at most {limits[key]:g} ms" for name, key in (("TTFT", "ttft_ms"), ("TPOT", "itl_ms")) if limits[key]
    ]
    return " and ".join(said) or "none was set, so it is every request that succeeded"
