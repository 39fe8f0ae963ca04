// What runs and waits, and how fast: the live plots and the sums since the worker started.

import { LivePlot } from "./operator_plots.js";
import { tiles } from "./operator_table.js";
import { count, duration, percent, short, span } from "./operator_text.js";

const RATE_S = 10; // over which rates are taken

/** Of the readings of one worker. */
export class Queues {
  /** @param {HTMLElement} place @param {HTMLDListElement} totals */
  constructor(place, totals) {
    this.totals = totals;
    this.readings = []; // {at, requests, tokens} of the last seconds, the oldest first
    this.plots = {
      sequences: new LivePlot(place, {
        title: "Running and queued",
        lines: [
          { name: "requests", colour: "--plot-1" },
          { name: "in batch", colour: "--plot-2" },
          { name: "queued", colour: "--plot-3" },
        ],
        write: count,
        isWhole: true,
      }),
      requests: new LivePlot(place, {
        title: "Requests per second",
        lines: [{ name: "requests/s", colour: "--plot-1" }],
        write: short,
      }),
      tokens: new LivePlot(place, {
        title: "Output tokens per second",
        lines: [{ name: "tokens/s", colour: "--plot-2" }],
        write: short,
      }),
      ttft: new LivePlot(place, {
        title: "Time to first token, p50",
        lines: [{ name: "p50", colour: "--plot-4" }],
        write: duration,
      }),
    };
  }

  /** Another worker: its counts have nothing to do with those before. */
  clear() {
    this.readings = [];
    for (const plot of Object.values(this.plots)) plot.clear();
  }

  /** @param {object} overview of `GET /admin/overview` */
  show({ at, worker, traffic, deployments }) {
    const engines = enginesOf(deployments);
    const sum = (figure) => (engines.length ? engines.reduce((total, engine) => total + engine[figure], 0) : null);
    this.plots.sequences.add(at, [traffic.running, sum("running"), sum("waiting")]);
    const before = this.before(at, traffic);
    const rate = (now, then) => (before === undefined ? null : (now - then) / (at - before.at));
    this.plots.requests.add(at, [rate(traffic.requests, before?.requests)]);
    this.plots.tokens.add(at, [rate(traffic.output_tokens, before?.tokens)]);
    this.plots.ttft.add(at, [traffic.last_minute.ttft_ms_p50]);
    this.showTotals(at - worker.started_at, traffic);
  }

  /** The reading that rates are taken from; undefined: there is none. */
  before(at, traffic) {
    while (this.readings.length > 1 && this.readings[1].at <= at - RATE_S) this.readings.shift();
    const [oldest] = this.readings;
    this.readings.push({ at, requests: traffic.requests, tokens: traffic.output_tokens });
    return oldest;
  }

  showTotals(seconds, traffic) {
    const { since_start: times } = traffic;
    tiles(this.totals, [
      ["Requests", count(traffic.requests), `in ${span(seconds)}`],
      ["Errors", count(traffic.errors), percent(traffic.requests ? traffic.errors / traffic.requests : null)],
      ["Cancelled", count(traffic.cancelled), "their client left"],
      ["Tokens in", count(traffic.input_tokens), `${count(traffic.cached_tokens)} cached`],
      ["Tokens out", count(traffic.output_tokens), `${short(traffic.output_tokens / Math.max(1, seconds))} a second`],
      ["TTFT", duration(times.ttft_ms_p50), `p95 ${duration(times.ttft_ms_p95)}`],
      ["Whole answer", duration(times.duration_ms_p50), `p95 ${duration(times.duration_ms_p95)}`],
    ]);
  }
}

/** Each once: deployments on one server may tell the figures of the whole of it. */
function enginesOf(deployments) {
  const told = deployments.filter(({ engine }) => engine !== null);
  return [
    ...new Map(told.map(({ name, address, engine }) => [engine.model === null ? address : name, engine])).values(),
  ];
}
