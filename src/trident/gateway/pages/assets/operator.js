// The operator's page: one look at the gateway every two seconds, less often while it does not answer, none while
// nobody looks. All figures are of one worker process; another's are shown when that one has been silent for a while.

import { askJson, element, signIn } from "./session.js";
import { offerModels, startExplaining } from "./operator_explain.js";
import { Queues } from "./operator_queues.js";
import { Reports } from "./operator_reports.js";
import { Deployments, Keys, Routes, showCaches } from "./operator_sections.js";
import { fill } from "./operator_table.js";
import { span } from "./operator_text.js";
import { Usage } from "./operator_usage.js";

const PERIOD_MS = 2000;
const MAX_PERIOD_MS = 30_000;
const LEDGER_MS = 15_000; // between two looks at the ledger; more where it takes its time
const SILENT_MS = 10_000; // after which another worker's figures are taken

const place = (id) => document.getElementById(id);

const queues = new Queues(place("plots"), place("totals"));
const sections = [queues, new Deployments(), new Routes(), new Keys()];
const usage = new Usage();
const reports = new Reports();

let timer = 0;
let isLooking = false;
let isPaused = false;
let periodMs = PERIOD_MS;
let ledgerAt = 0; // not before
let worker = { pid: null, seenAt: -Infinity };

/** One look, and the next one later. */
async function look() {
  clearTimeout(timer);
  if (isLooking || isPaused || document.hidden) return;
  isLooking = true;
  let isOver = false; // nothing changes before the reader does something
  try {
    show(await askJson("admin/overview"));
    periodMs = PERIOD_MS;
  } catch (error) {
    isOver = error.status === 401 || error.status === 403;
    if (!isOver) periodMs = Math.min(MAX_PERIOD_MS, 2 * periodMs);
    showFault(error, isOver);
  }
  isLooking = false;
  if (!isOver) timer = setTimeout(look, periodMs);
}

function show(overview) {
  const now = performance.now();
  const { pid } = overview.worker;
  if (pid !== worker.pid && now - worker.seenAt < SILENT_MS) return;
  if (pid !== worker.pid && worker.pid !== null) queues.clear();
  worker = { pid, seenAt: now };
  place("notice").hidden = true;
  place("figures").hidden = false;
  place("pause").disabled = false;
  showWorker(overview);
  for (const section of sections) section.show(overview);
  showCaches(overview);
  offerModels(place("explain-model"), overview.models);
  if (now >= ledgerAt) lookAtLedger(overview.models);
}

async function lookAtLedger(models) {
  const begun = performance.now();
  ledgerAt = Infinity;
  await Promise.all([usage.refresh(), reports.refresh(models)]);
  const now = performance.now();
  ledgerAt = now + Math.max(LEDGER_MS, 10 * (now - begun));
}

function showWorker({ worker: { pid, workers, started_at: startedAt, version }, at, ready, reason }) {
  const whose = workers > 1 ? `figures of worker ${pid}, one of ${workers}; each has its own` : `process ${pid}`;
  const told = [
    { badge: ready ? "ready" : "not ready", kind: ready ? "good" : "bad" },
    ...(ready ? [] : [reason]),
    `Trident ${version}`,
    `up ${span(at - startedAt)}`,
    whose,
  ];
  fill(place("worker"), told);
}

function showFault(error, isOver) {
  const parts = [element("span", {}, error.message)];
  if (isOver) {
    place("figures").hidden = true;
    const button = element("button", { type: "button" }, error.status === 403 ? "Use another key" : "Sign in");
    button.addEventListener("click", () =>
      signIn("The operator's page needs a key with the scope admin.").then(look, () => {}),
    );
    parts.push(button);
  } else {
    parts.push(element("span", {}, `Trying again in ${span(periodMs / 1000)}.`));
  }
  place("notice").replaceChildren(...parts);
  place("notice").hidden = false;
}

place("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  place("pause").setAttribute("aria-pressed", String(isPaused));
  place("status").textContent = isPaused ? "Paused" : "Live again";
  look();
});
document.addEventListener("visibilitychange", look);
startExplaining(place("explain-form"), place("explanation"));
look();
