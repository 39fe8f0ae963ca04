// A model's text as nodes: paragraphs, fenced code, `code` and **strong** in a line. Everything else stays as it was
// written, HTML and links too: nothing in an answer is ever more than text.

import { element } from "./session.js";

// Nothing in it can give back what it took, so that a long line takes no longer than its characters.
const FENCE = /^ {0,3}(```+(?!`)|~~~+(?!~))[ \t]*(?![ \t])([\w+#.-]*)(?![\w+#.-])[^`]*$/;
const IN_LINE = /(`[^`\n]+`|\*\*[^*\n]+\*\*)/;

/**
 * @typedef {{kind: "text" | "code", language: string, text: string}} Block
 * @param {string} text
 * @returns {Block[]} in order; code that has no end yet goes to the end
 */
export function blocksOf(text) {
  /** @type {Block[]} */
  const blocks = [];
  let lines = [];
  let fence = null;
  const end = (kind, language = "") => {
    const held = lines.join("\n");
    if (kind === "code" || held.trim()) blocks.push({ kind, language, text: kind === "code" ? held : trimmed(held) });
    lines = [];
  };
  for (const line of text.split("\n")) {
    const match = FENCE.exec(line);
    if (fence === null && match) {
      end("text");
      fence = { mark: match[1], language: match[2] };
    } else if (fence !== null && match && match[1].startsWith(fence.mark) && !match[2]) {
      end("code", fence.language);
      fence = null;
    } else {
      lines.push(line);
    }
  }
  if (fence !== null) end("code", fence.language);
  else end("text");
  return blocks;
}

/** A text that grows, in one element: what has been shown already is left alone, selections in it too. */
export class GrowingText {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    /** @type {Block[]} */
    this.shown = [];
  }

  /** @param {string} text all of it */
  show(text) {
    const blocks = blocksOf(text);
    blocks.forEach((block, number) => {
      const before = this.shown[number];
      if (before?.text === block.text && before.kind === block.kind && before.language === block.language) return;
      const node = nodeOf(block);
      if (before) this.place.children[number].replaceWith(node);
      else this.place.append(node);
    });
    while (this.place.children.length > blocks.length) this.place.lastElementChild.remove();
    this.shown = blocks;
  }
}

function nodeOf({ kind, language, text }) {
  if (kind === "text") return element("p", {}, ...text.split(IN_LINE).map(inLine));
  const caption = language ? [element("figcaption", {}, language)] : [];
  return element("figure", { class: "code" }, ...caption, element("pre", { tabindex: 0 }, element("code", {}, text)));
}

function inLine(piece, number) {
  if (number % 2 === 0) return piece; // what stands between two matches
  return piece.startsWith("`") ? element("code", {}, piece.slice(1, -1)) : element("strong", {}, piece.slice(2, -2));
}

function trimmed(text) {
  return text.replace(/^\n+/, "").trimEnd();
}
