// The turns of a chat, in order, as they are kept in this tab and as the model is sent them.

import { keep, kept } from "./kept.js";

const KEPT = "trident.chat.turns";

/**
 * @typedef {{role: "user", text: string}} Question
 * @typedef {Question | import("./generation.js").Answer} Turn
 */

export class Conversation {
  constructor() {
    /** @type {Turn[]} */
    this.turns = kept(KEPT, []);
  }

  /** What the model is sent of it; an answer that failed before its first word is left out. */
  messages() {
    return this.turns.filter(({ text }) => text).map(({ role, text }) => ({ role, content: text }));
  }

  /** @param {Turn} turn */
  add(turn) {
    this.turns.push(turn);
    return turn;
  }

  /** The number of the last question; -1: there is none. */
  lastQuestion() {
    return this.turns.findLastIndex(({ role }) => role === "user");
  }

  /** Forget the turns from this number on. */
  cut(number) {
    this.turns.length = number;
  }

  /** For the next time the page is loaded; whether that was possible. */
  keep() {
    return keep(KEPT, this.turns);
  }
}
