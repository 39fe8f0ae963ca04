// Thumbs under an answer, and a few words to go with them: `POST v1/feedback`.

import { icon } from "./icons.js";
import { askJson, element } from "./session.js";

const THUMBS = { up: "Good answer", down: "Bad answer" };

/**
 * Two buttons, and the place for words that a thumb opens.
 * @param {import("./generation.js").Answer} answer whose request id is known
 * @param {() => void} onJudged
 */
export function feedback(answer, onJudged) {
  const place = element("div", { class: "feedback" });
  const buttons = Object.entries(THUMBS).map(([thumb, label]) => {
    const attributes = { type: "button", class: "quiet icon", "aria-label": label, title: label, "data-thumb": thumb };
    const button = element("button", attributes, icon(thumb));
    button.addEventListener("click", () => judge(thumb));
    return button;
  });
  const show = () => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.thumb === answer.thumb));
  };
  const judge = async (thumb) => {
    if (!(await send(answer, place, { thumb }))) return;
    answer.thumb = thumb;
    show();
    onJudged();
    place.replaceChildren(commentForm(answer, place));
  };
  show();
  return { buttons, place };
}

function commentForm(answer, place) {
  const field = element("input", { id: `comment-${answer.figures.requestId}`, maxlength: 4000, autocomplete: "off" });
  const label = answer.thumb === "up" ? "What was good about it? (optional)" : "What was wrong with it? (optional)";
  const form = element(
    "form",
    { class: "comment" },
    element("div", { class: "field" }, element("label", { for: field.id }, label), field),
    element("button", { type: "submit" }, "Send"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text || (await send(answer, place, { thumb: answer.thumb, text }))) thank(place);
  });
  return form;
}

function thank(place) {
  place.replaceChildren(element("p", { class: "muted small", role: "status" }, "Thank you."));
}

/** Whether it was taken. */
async function send(answer, place, judgement) {
  try {
    await askJson("v1/feedback", { body: { request_id: answer.figures.requestId, ...judgement } });
    return true;
  } catch (error) {
    place.querySelector(".fault")?.remove();
    place.append(element("p", { class: "fault", role: "alert" }, `Not taken: ${error.message}`));
    return false;
  }
}
