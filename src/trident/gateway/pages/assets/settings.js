// The settings of a chat: a form whose fields are left out of the request while they are empty.

import { keep, kept } from "./kept.js";

const KEPT = "trident.chat.settings";
const MAX_STOPS = 4;
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];

export class Settings {
  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    this.restore();
    form.addEventListener("input", () => this.keep());
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Whether every field can be sent; shows the first that cannot, if `shows`. */
  areGood({ shows = false } = {}) {
    const stop = this.form.elements.stop;
    const isTooMany = this.stops().length > MAX_STOPS;
    stop.setCustomValidity(isTooMany ? `At most ${MAX_STOPS} texts.` : "");
    return shows ? this.form.reportValidity() : this.form.checkValidity();
  }

  /** The system message, or none. */
  messages() {
    const system = this.form.elements.system.value.trim();
    return system ? [{ role: "system", content: system }] : [];
  }

  /** What is sent beside the messages. */
  parameters() {
    const sent = {};
    for (const name of NUMBERS) {
      const { value } = this.form.elements[name];
      if (value !== "") sent[name] = Number(value);
    }
    const stop = this.stops();
    return stop.length ? { ...sent, stop } : sent;
  }

  reset() {
    this.form.reset();
    this.keep();
  }

  stops() {
    const lines = this.form.elements.stop.value.split("\n").filter((line) => line !== "");
    return lines.map((line) => line.replaceAll("\\n", "\n"));
  }

  keep() {
    keep(KEPT, Object.fromEntries(new FormData(this.form)));
  }

  restore() {
    for (const [name, value] of Object.entries(kept(KEPT, {}))) this.form.elements[name].value = value;
  }
}
