// A table that is shown again every few seconds: only cells whose content is another are touched, so that what the
// reader has selected, focused or scrolled to stays.

import { element } from "./session.js";

/** In a frame of its own, which scrolls where the page is narrow. */
export class Table {
  /**
   * @param {HTMLElement} place @param {string} label @param {{name: string, number?: boolean}[]} columns
   * @param {string} nothing is shown where there are no rows
   */
  constructor(place, label, columns, nothing = "None") {
    this.columns = columns;
    this.body = element("tbody");
    this.nothing = element("p", { class: "muted" }, nothing);
    const head = columns.map(({ name, number }) =>
      element("th", { scope: "col", class: number ? "number" : null }, name),
    );
    const table = element(
      "table",
      {},
      element("caption", { class: "unseen" }, label),
      element("thead", {}, element("tr", {}, ...head)),
      this.body,
    );
    this.frame = element("div", { class: "table-frame", tabindex: 0, role: "region", "aria-label": label }, table);
    place.replaceChildren(this.frame, this.nothing);
    this.show([]);
  }

  /** @param {unknown[][]} rows cells as of `contentOf`; the first of a row is its header */
  show(rows) {
    this.frame.hidden = rows.length === 0;
    this.nothing.hidden = rows.length > 0;
    while (this.body.rows.length > rows.length) this.body.lastElementChild.remove();
    while (this.body.rows.length < rows.length) this.body.append(this.newRow());
    rows.forEach((cells, number) => {
      const row = this.body.rows[number];
      cells.forEach((cell, place) => fill(row.cells[place], cell));
    });
  }

  newRow() {
    return element(
      "tr",
      {},
      ...this.columns.map(({ number }, place) =>
        element(place ? "td" : "th", { scope: place ? null : "row", class: number ? "number" : null }),
      ),
    );
  }
}

const shown = new WeakMap(); // what a cell holds, as text

/** Put `cell` into a place, unless it is there already. */
export function fill(place, cell) {
  const sign = JSON.stringify(cell);
  if (shown.get(place) === sign) return;
  shown.set(place, sign);
  place.replaceChildren(...contentOf(cell));
}

/**
 * A text; `{badge, kind}`; `{code}`; `{meter: 0 to 1, text, isLoad}`; `{muted}`; `{unseen}`, for readers that are read
 * to; `{wrapped}`, what may be long; `{estimate, scale, zero, kind}`, drawn; or several of those as lines.
 */
function contentOf(cell) {
  if (Array.isArray(cell)) return cell.map((line) => element("div", {}, ...contentOf(line)));
  if (cell === null || typeof cell !== "object") return [String(cell ?? "")];
  if ("badge" in cell) return [element("span", { class: `badge ${cell.kind ?? ""}` }, cell.badge)];
  if ("code" in cell) return [element("code", {}, cell.code)];
  if ("muted" in cell) return [element("span", { class: "muted" }, cell.muted)];
  if ("unseen" in cell) return [element("span", { class: "unseen" }, cell.unseen)];
  if ("wrapped" in cell) return [element("span", { class: "wrapped" }, cell.wrapped)];
  if ("meter" in cell) return meter(cell);
  return [drawn(cell)];
}

function meter({ meter: share, text, isLoad = false }) {
  const bar = element(
    "span",
    { class: isLoad && share > 0.9 ? "meter full" : "meter", "aria-hidden": "true" },
    element("span"),
  );
  bar.firstElementChild.style.inlineSize = `${100 * Math.min(1, Math.max(0, share))}%`;
  return [element("span", { class: "metered" }, bar, text)];
}

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 160;
const HEIGHT = 18;
const MARGIN = 5;

/** An interval on `scale` [from, to], the figure a dot in it. The text beside it says the same. */
function drawn({ estimate, scale: [from, to], zero = false, kind = "" }) {
  const x = (value) => MARGIN + ((value - from) / (to - from || 1)) * (WIDTH - 2 * MARGIN);
  const middle = HEIGHT / 2;
  const drawing = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    width: WIDTH,
    height: HEIGHT,
    class: `interval ${kind}`,
    "aria-hidden": "true",
  });
  drawing.append(shape("line", { class: "base", x1: 0, x2: WIDTH, y1: middle, y2: middle }));
  if (zero) drawing.append(shape("line", { class: "zero", x1: x(0), x2: x(0), y1: 1, y2: HEIGHT - 1 }));
  if (estimate.low !== null) {
    drawing.append(
      shape("line", { class: "reach", x1: x(estimate.low), x2: x(estimate.high), y1: middle, y2: middle }),
    );
  }
  drawing.append(shape("circle", { class: "value", cx: x(estimate.value), cy: middle, r: 3.5 }));
  return drawing;
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

/** Figures with their names: `tiles(list, [["Answers", "12"], ...])`. @param {HTMLDListElement} list */
export function tiles(list, figures) {
  while (list.children.length > figures.length) list.lastElementChild.remove();
  while (list.children.length < figures.length) list.append(element("div", {}, element("dt"), element("dd")));
  figures.forEach(([name, figure, note = ""], number) => {
    const [title, value] = list.children[number].children;
    fill(title, name);
    fill(value, note ? [figure, { muted: note }] : [figure]);
  });
}
