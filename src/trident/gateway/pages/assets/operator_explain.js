// "Where would a request go?": a question to the router, answered by the same code that routes requests.

import { askJson, element } from "./session.js";
import { Table } from "./operator_table.js";
import { count, percent } from "./operator_text.js";

const COLUMNS = [
  { name: "Asked" },
  { name: "Deployment" },
  { name: "Share of weights", number: true },
  { name: "Breaker" },
  { name: "Running", number: true },
  { name: "Obstacle" },
];

/** Makes the form work. @param {HTMLFormElement} form @param {HTMLElement} answer */
export function startExplaining(form, answer) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const told = await askJson("admin/route/explain", { body: questionOf(new FormData(form)) });
      answer.replaceChildren(...decisionOf(told));
    } catch (error) {
      answer.replaceChildren(element("p", { class: "fault", role: "alert" }, error.message));
    }
  });
}

/** The models that can be asked for; the one that was chosen stays. @param {HTMLSelectElement} select */
export function offerModels(select, models) {
  const names = models.flatMap(({ model, aliases }) => [model, ...aliases]);
  if (names.join("\n") === [...select.options].map(({ value }) => value).join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  if (names.includes(chosen)) select.value = chosen;
}

function questionOf(form) {
  const given = {
    model: form.get("model"),
    operation: form.get("operation"),
    tools: form.get("tools") === "yes",
    prompt: form.get("prompt"),
  };
  for (const name of ["tenant", "user"]) if (form.get(name).trim()) given[name] = form.get(name).trim();
  const groups = form
    .get("groups")
    .split(",")
    .map((group) => group.trim())
    .filter(Boolean);
  return { ...given, groups };
}

function decisionOf(told) {
  const reasons = element("ol", { class: "reasons" }, ...told.reasons.map((reason) => element("li", {}, reason)));
  const place = element("div");
  new Table(place, `Deployments for ${told.model}`, COLUMNS).show(told.candidates.map(candidateRow));
  const parts = [element("h3", {}, told.model), reasons, place];
  if (told.shadow)
    parts.push(
      element("p", { class: "muted" }, `A copy goes to ${told.shadow}; its answer is compared, never returned.`),
    );
  if (told.escalation)
    parts.push(element("p", { class: "muted" }, "When none of them can begin:"), ...decisionOf(told.escalation));
  return parts;
}

function candidateRow({ deployment, share, breaker, running, obstacle }, number) {
  return [
    `${number + 1}.`,
    deployment,
    percent(share),
    { badge: breaker.replace("_", " "), kind: breaker === "closed" ? "good" : "warn" },
    count(running),
    obstacle ?? "",
  ];
}
