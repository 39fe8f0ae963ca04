// A button that copies a text.

import { icon } from "./icons.js";
import { element } from "./session.js";

const SHOWN_MS = 1500;

/** @param {() => string} text what is copied, as it is when the button is pressed */
export function copyButton(text) {
  const label = element("span", { role: "status" }, "Copy");
  const button = element("button", { type: "button", class: "quiet" }, icon("copy"), label);
  button.addEventListener("click", async () => {
    label.textContent = (await copy(text())) ? "Copied" : "Not copied";
    setTimeout(() => {
      label.textContent = "Copy";
    }, SHOWN_MS);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // pages that came neither over TLS nor from this machine have no clipboard
  }
}

function copyBySelection(text) {
  const field = element("textarea", { class: "unseen", "aria-hidden": "true" });
  const before = document.activeElement;
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  before?.focus();
  return isCopied;
}
