// A/B: what the deployments of a model did, with 95 % intervals drawn on one scale, and how they differ from the first.

import { askJson, element } from "./session.js";
import { Table } from "./operator_table.js";
import { beginOf, count, duration, interval, money, percent, short } from "./operator_text.js";

const MEASURES = [
  { name: "TTFT, mean", of: (arm) => arm.ttft_ms.mean, write: duration },
  { name: "TTFT, p50", of: (arm) => arm.ttft_ms.p50, write: duration },
  { name: "TTFT, p95", of: (arm) => arm.ttft_ms.p95, write: duration },
  { name: "Whole answer, mean", of: (arm) => arm.latency_ms.mean, write: duration },
  { name: "Whole answer, p95", of: (arm) => arm.latency_ms.p95, write: duration },
  { name: "Errors", of: (arm) => arm.error_rate, write: percent },
  { name: "Price of a request", of: (arm) => arm.price_per_request, write: money },
  { name: "Cost of a request", of: (arm) => arm.cost_per_request, write: money },
  { name: "Feedback, 0 to 1", of: (arm) => arm.feedback, write: short },
];
// `less`: whether less is better; `equal`: what says that neither is
const CONTRASTS = [
  { name: "TTFT", of: (contrast) => contrast.ttft_ms, write: duration, less: true },
  { name: "Whole answer", of: (contrast) => contrast.latency_ms, write: duration, less: true },
  { name: "Errors", of: (contrast) => contrast.error_rate, write: percent, less: true },
  { name: "Cost of a request", of: (contrast) => contrast.cost_per_request, write: money, less: true },
  { name: "Wins by feedback", of: (contrast) => contrast.win_rate, write: percent, less: false, equal: 0.5 },
];
const SHADOW_MEASURES = [
  { name: "Same text", of: (shadow) => shadow.equal_rate, write: percent },
  { name: "Time added", of: (shadow) => shadow.added_latency_ms, write: duration },
];

const place = (id) => document.getElementById(id);

/** The section. */
export class Reports {
  constructor() {
    this.place = place("reports");
    this.notice = place("comparison-notice");
    this.since = place("comparison-since");
    this.models = [];
    this.views = new Map(); // by model
    this.since.addEventListener("change", () => this.refresh(this.models));
  }

  /** Ask for the reports of the models that have something to compare. @param {object[]} models of the overview */
  async refresh(models) {
    this.models = models;
    const names = models.filter(({ deployments }) => deployments.length > 1).map(({ model }) => model);
    place("comparison-none").hidden = names.length > 0;
    place("comparison-form").hidden = names.length === 0;
    const since = beginOf(this.since.value);
    for (const [name, view] of this.views) {
      if (!names.includes(name)) {
        view.card.remove();
        this.views.delete(name);
      }
    }
    try {
      for (const name of names) {
        this.viewOf(name).show(await askJson(`admin/routes/${encodeURIComponent(name)}/report?since=${since}`));
      }
      this.notice.hidden = true;
    } catch (error) {
      this.notice.textContent = error.message;
      this.notice.hidden = false;
    }
  }

  viewOf(name) {
    if (!this.views.has(name)) {
      const view = new Report(name);
      this.views.set(name, view);
      this.place.append(view.card);
    }
    return this.views.get(name);
  }
}

class Report {
  constructor(model) {
    const [arms, contrasts, shadows] = [element("div"), element("div"), element("div")];
    const [differs, copies] = [element("h4"), element("h4", {}, "Shadows")];
    this.differs = differs;
    this.versions = element("p", { class: "muted small" });
    this.parts = { contrasts: [differs, contrasts], shadows: [copies, shadows] };
    this.card = element(
      "article",
      { class: "card stack" },
      element("h3", {}, model),
      this.versions,
      arms,
      differs,
      contrasts,
      copies,
      shadows,
    );
    const columns = [
      { name: "Figure" },
      { name: "Deployment" },
      { name: "In numbers (95 % interval)" },
      { name: "Drawn" },
    ];
    this.arms = new Table(arms, `${model}: each deployment`, columns, "No request yet");
    this.contrasts = new Table(
      contrasts,
      `${model}: differences`,
      [...columns, { name: "What it says" }],
      "Too few requests to compare",
    );
    this.shadows = new Table(shadows, `${model}: shadows`, columns, "No copy was compared yet");
  }

  show({ arms, contrasts, shadows }) {
    this.versions.textContent = arms.map(summaryOf).join(" · ");
    this.differs.textContent = contrasts.length ? `Against ${contrasts[0].baseline}` : "";
    const asked = arms.filter(({ num_requests: number }) => number > 0);
    const copied = shadows.map((shadow) => ({ ...shadow, deployment: `${shadow.deployment} of ${shadow.of}` }));
    this.arms.show(MEASURES.flatMap((measure) => measureRow(measure, asked)));
    this.contrasts.show(CONTRASTS.flatMap((measure) => contrastRow(measure, contrasts)));
    this.shadows.show(SHADOW_MEASURES.flatMap((measure) => measureRow(measure, copied)));
    for (const part of this.parts.contrasts) part.hidden = contrasts.length === 0;
    for (const part of this.parts.shadows) part.hidden = shadows.length === 0;
  }
}

function summaryOf({ deployment, version, num_requests: number }) {
  return `${deployment}${version ? ` (version ${version})` : ""}: ${count(number)} requests`;
}

/** Those that have the figure, a line for each and all on one scale; no row where none has. */
function measureRow({ name, of, write }, arms) {
  const told = arms.filter((arm) => of(arm) !== null);
  const scale = scaleOf(told.map(of));
  const lines = (content) => told.map(content);
  if (told.length === 0) return [];
  return [
    [
      name,
      lines(({ deployment }) => deployment),
      lines((arm) => interval(of(arm), write)),
      lines((arm) => ({ estimate: of(arm), scale })),
    ],
  ];
}

function contrastRow({ name, of, write, less, equal = 0 }, contrasts) {
  const told = contrasts.filter((contrast) => of(contrast) !== null);
  const apart = (contrast) => shifted(of(contrast), equal);
  const scale = scaleOf([...told.map(apart), { value: 0, low: null, high: null }]);
  const lines = (content) => told.map(content);
  if (told.length === 0) return [];
  return [
    [
      name,
      lines(({ deployment }) => deployment),
      lines((contrast) => interval(of(contrast), write)),
      lines((contrast) => ({
        estimate: apart(contrast),
        scale,
        zero: true,
        kind: verdict(apart(contrast), less).kind,
      })),
      lines((contrast) => verdict(apart(contrast), less)),
    ],
  ];
}

function verdict({ low, high }, less) {
  if (low === null) return { badge: "too few to say", kind: "" };
  if (low <= 0 && high >= 0) return { badge: "no difference shown", kind: "" };
  return high < 0 === less ? { badge: "better", kind: "good" } : { badge: "worse", kind: "bad" };
}

function shifted({ value, low, high }, by) {
  return { value: value - by, low: low === null ? null : low - by, high: high === null ? null : high - by };
}

/** From the least to the most of all intervals. */
function scaleOf(estimates) {
  const ends = estimates.flatMap(({ value, low, high }) => [low ?? value, high ?? value]);
  return [Math.min(...ends), Math.max(...ends)];
}
