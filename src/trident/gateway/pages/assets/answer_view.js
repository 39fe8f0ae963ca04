// What an answer looks like: its text, what went wrong, where it has it from, its figures, and what can be done with it.

import { copyButton } from "./copying.js";
import { feedback } from "./feedback.js";
import { icon } from "./icons.js";
import { GrowingText } from "./rich_text.js";
import { element } from "./session.js";
import { sources } from "./sources.js";

const FINISH = {
  length: "cut off at its greatest length",
  stopped: "stopped",
  content_filter: "held back by a check",
};

export class AnswerView {
  /**
   * @param {import("./generation.js").Answer} answer
   * @param {() => void} onJudged
   */
  constructor(answer, onJudged) {
    this.answer = answer;
    this.onJudged = onJudged;
    this.reasoning = element("details", { class: "reasoning", hidden: true }, element("summary", {}, "Reasoning"));
    this.reasoningText = this.reasoning.appendChild(element("div"));
    const text = element("div", { class: "text" });
    this.growing = new GrowingText(text);
    this.end = element("div");
    this.node = element("article", { class: "turn assistant", "aria-label": "Answer" }, this.reasoning, text, this.end);
  }

  /** As far as it has come. */
  showRunning() {
    this.node.classList.add("running");
    this.node.setAttribute("aria-busy", "true");
    this.end.replaceChildren();
    this.showText();
  }

  /** As it ended. @param {{onRetry?: () => void}} actions of the last answer */
  showEnded({ onRetry }) {
    this.node.classList.remove("running");
    this.node.removeAttribute("aria-busy");
    this.showText();
    const details = detailsOf(this.answer.figures);
    const { buttons, place } = this.feedbackParts();
    const actions = element("div", { class: "actions" });
    if (this.answer.text) actions.append(copyButton(() => this.answer.text));
    if (onRetry) actions.append(actionButton("retry", "Retry", onRetry));
    actions.append(...buttons, ...(details ? [detailsButton(details)] : []));
    this.end.replaceChildren(
      ...faultLines(this.answer.fault),
      ...sources(this.answer),
      figureLine(this.answer.figures),
      actions,
      ...(details ? [details] : []),
      place,
    );
  }

  showText() {
    this.reasoning.hidden = !this.answer.reasoning;
    this.reasoningText.textContent = this.answer.reasoning;
    this.growing.show(this.answer.text);
  }

  feedbackParts() {
    const canBeJudged = this.answer.figures.requestId && this.answer.text;
    return canBeJudged ? feedback(this.answer, this.onJudged) : { buttons: [], place: element("div") };
  }
}

export function actionButton(name, label, onClick) {
  const button = element("button", { type: "button", class: "quiet" }, icon(name), label);
  button.addEventListener("click", onClick);
  return button;
}

function faultLines(fault) {
  if (!fault) return [];
  const isNamed = fault.requestId && !fault.message.includes(fault.requestId);
  const text = `Error: ${fault.message}${isNamed ? ` (request ${fault.requestId})` : ""}`;
  return [element("p", { class: "fault" }, text)];
}

function figureLine(figures) {
  const { ttftMs, tokensPerS, input, output, cached, finish, model, deployment, cache } = figures;
  const line = element("div", { class: "figures" });
  const add = (text, attributes = {}) => line.append(element("span", attributes, text));
  if (model) add(deployment ? `${model} on ${deployment}` : model);
  if (ttftMs !== undefined) add(`${milliseconds(ttftMs)} to first token`);
  if (tokensPerS !== undefined) add(`${tokensPerS.toFixed(tokensPerS < 10 ? 1 : 0)} tokens/s`);
  if (input !== undefined) add(`${input} in${cached ? ` (${cached} cached)` : ""}, ${output} out`);
  if (cache === "exact" || cache === "semantic" || cache === "shared") add(`from the cache (${cache})`);
  if (finish in FINISH) add(FINISH[finish], { class: "warn" });
  return line;
}

function detailsOf(figures) {
  const rows = [
    ["Model", figures.model],
    ["Deployment", figures.deployment],
    ["Route", figures.route],
    ["Cache", [figures.cache, figures.cacheReason].filter(Boolean).join(": ")],
    ["First token after", figures.ttftMs === undefined ? "" : milliseconds(figures.ttftMs)],
    ["Tokens in, of them cached", figures.input === undefined ? "" : `${figures.input}, ${figures.cached}`],
    ["Tokens out", figures.output],
    ["Finish reason", figures.finish],
    ["Request", figures.requestId],
  ].filter(([, value]) => value !== undefined && value !== "");
  if (rows.length === 0) return null;
  const list = element("dl");
  for (const [name, value] of rows) list.append(element("dt", {}, name), element("dd", {}, String(value)));
  return element("div", { class: "details", hidden: true }, list);
}

function detailsButton(details) {
  const button = element("button", { type: "button", class: "quiet", "aria-expanded": "false" }, "Details");
  button.addEventListener("click", () => {
    details.hidden = !details.hidden;
    button.setAttribute("aria-expanded", String(!details.hidden));
  });
  return button;
}

function milliseconds(value) {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}
