// The chat page: who asks what when. How an answer comes is in generation.js, how it looks in answer_view.js.

import { AnswerView, actionButton } from "./answer_view.js";
import { Conversation } from "./conversation.js";
import { emptyAnswer, generate } from "./generation.js";
import { keep as keepInTab, kept } from "./kept.js";
import { GrowingText } from "./rich_text.js";
import { askJson, element } from "./session.js";
import { Settings } from "./settings.js";

const KEPT_MODEL = "trident.chat.model";
const NEAR_THE_END_PX = 80;
const ROOM_FOR_SETTINGS = matchMedia("(min-width: 60.01rem)");

const part = (id) => document.getElementById(id);
const settings = new Settings(part("settings-form"));
const conversation = new Conversation();
let running = null; // {controller, view} of the answer that is being written
let edited = -1; // the number of the question that is being changed

// What is seen of the conversation

function showTurns() {
  part("turns").replaceChildren(...conversation.turns.map(viewOf));
  part("welcome").hidden = conversation.turns.length > 0;
  scrollToEnd();
}

function viewOf(turn, number) {
  if (turn.role === "user") return questionView(turn, number === conversation.lastQuestion());
  const isLast = number === conversation.turns.length - 1;
  const view = new AnswerView(turn, keep);
  if (running?.answer === turn) running.view = view;
  if (running?.answer === turn) view.showRunning();
  else view.showEnded({ onRetry: isLast ? retry : undefined });
  return view.node;
}

function questionView(turn, isLast) {
  const text = element("div", { class: "text" });
  new GrowingText(text).show(turn.text);
  const actions = isLast && !running ? [element("div", { class: "actions" }, actionButton("edit", "Edit", edit))] : [];
  return element("article", { class: "turn user", "aria-label": "Your message" }, text, ...actions);
}

function isAtEnd() {
  const { scrollHeight, scrollTop, clientHeight } = part("conversation");
  return scrollHeight - scrollTop - clientHeight < NEAR_THE_END_PX;
}

function scrollToEnd() {
  part("conversation").scrollTop = part("conversation").scrollHeight;
}

function say(text) {
  part("status").textContent = text; // read aloud
}

function notice(text, action) {
  part("notice").hidden = !text;
  part("notice").replaceChildren(text, ...(action ? [action] : []));
}

function keep() {
  if (!conversation.keep()) notice("This conversation has become too long to survive a reload of the page.");
}

// Asking

function showState() {
  part("stop").hidden = !running;
  part("send").disabled = !part("model").value || !part("message").value.trim();
  part("editing").hidden = edited < 0;
}

function send() {
  const text = part("message").value.trim();
  if (!text || running || !part("model").value || !areSettingsGood()) return;
  if (edited >= 0) conversation.cut(edited);
  edited = -1;
  conversation.add({ role: "user", text });
  part("message").value = "";
  write({ asksAnew: false });
}

function retry() {
  if (running || !areSettingsGood()) return;
  conversation.cut(conversation.lastQuestion() + 1);
  part("conversation").focus({ preventScroll: true }); // the button that was pressed goes
  write({ asksAnew: true });
}

async function write({ asksAnew }) {
  notice("");
  const body = {
    model: part("model").value,
    messages: [...settings.messages(), ...conversation.messages()],
    ...settings.parameters(),
  };
  const answer = conversation.add(emptyAnswer());
  running = { answer, view: null, controller: new AbortController() };
  keep();
  showTurns();
  showState();
  say("The answer is being written.");
  const { signal } = running.controller;
  await generate(body, answer, { signal, asksAnew, onChange: drawSoon });
  const wasAtEnd = isAtEnd();
  running = null;
  keep();
  const position = part("conversation").scrollTop;
  showTurns();
  if (!wasAtEnd) part("conversation").scrollTop = position;
  showState();
  if (!conversation.turns.includes(answer)) return; // a new chat was begun meanwhile
  say(answer.fault ? `The answer failed: ${answer.fault.message}` : `Answer: ${answer.text}`);
}

let isDrawing = false;

function drawSoon() {
  if (isDrawing) return; // once a frame, however fast the text comes
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    if (!running) return;
    const wasAtEnd = isAtEnd();
    running.view.showRunning();
    if (wasAtEnd) scrollToEnd();
  });
}

function stop() {
  running?.controller.abort();
}

function edit() {
  edited = conversation.lastQuestion();
  part("message").value = conversation.turns[edited].text;
  part("message").focus();
  showState();
}

function stopEditing() {
  edited = -1;
  part("message").value = "";
  part("message").focus();
  showState();
}

function startAnew() {
  stop();
  conversation.cut(0);
  stopEditing();
  notice("");
  keep();
  showTurns();
}

// Settings and models

function showSettings(isOpen, { takesFocus = true } = {}) {
  part("settings").hidden = !isOpen;
  part("show-settings").setAttribute("aria-expanded", String(isOpen));
  if (takesFocus) part(isOpen ? "system" : "show-settings").focus();
}

function areSettingsGood() {
  if (settings.areGood()) return true;
  showSettings(true, { takesFocus: false });
  return settings.areGood({ shows: true });
}

async function showModels() {
  notice("");
  try {
    const { data } = await askJson("v1/models");
    const chosen = kept(KEPT_MODEL);
    const names = data.map(({ id }) => id);
    part("model").replaceChildren(
      ...names.map((name) => element("option", { value: name, selected: name === chosen }, name)),
    );
    if (names.length === 0) notice("There is no model that this key may ask.");
  } catch (error) {
    const again = element("button", { type: "button" }, "Try again");
    again.addEventListener("click", showModels);
    notice(`No models: ${error.message}`, again);
  }
  showState();
}

// Keys and buttons

function onKey(event) {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (running) stop();
  else if (!part("settings").hidden && !ROOM_FOR_SETTINGS.matches) showSettings(false);
  else if (edited >= 0) stopEditing();
}

function onMessageKey(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
}

part("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
part("message").addEventListener("keydown", onMessageKey);
part("message").addEventListener("input", showState);
part("model").addEventListener("change", () => keepInTab(KEPT_MODEL, part("model").value));
part("stop").addEventListener("click", () => {
  stop();
  part("message").focus();
});
part("stop-editing").addEventListener("click", stopEditing);
part("new-chat").addEventListener("click", startAnew);
part("show-settings").addEventListener("click", () => showSettings(part("settings").hidden));
part("hide-settings").addEventListener("click", () => showSettings(false));
part("defaults").addEventListener("click", () => settings.reset());
document.addEventListener("keydown", onKey);
addEventListener("pagehide", () => {
  if (running) running.answer.figures.finish = "stopped";
  keep();
});

if (ROOM_FOR_SETTINGS.matches) showSettings(true, { takesFocus: false });
showTurns();
part("message").focus();
showModels();
