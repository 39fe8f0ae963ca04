// Live plots of the last minutes, each with its figures as text and as a table. Colours come from the style sheet, so
// that they follow light and dark.

import { element } from "./session.js";
import { Table } from "./operator_table.js";
import uPlot from "./uplot-1.6.32.js";

const WINDOW_S = 300;
const LEAST_S = 60; // that a plot shows
const GAP_S = 15; // a longer silence is a gap in the lines
const HEIGHT = 136;
const TIME_STEPS_S = [30, 60, 120];
const WHOLE_STEPS = [1, 10, 100, 1000, 10_000].flatMap((power) => [power, 2 * power, 5 * power]);
const TABLE_ROWS = 20;
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** @param {number} at seconds since 1970 */
function clockText(at) {
  return CLOCK.format(1000 * at).slice(0, at % 60 ? 8 : 5);
}

/** The value of a custom property, as it is in this colour scheme. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** One or several lines over time. */
export class LivePlot {
  /**
   * @param {HTMLElement} place
   * @param {{title: string, lines: {name: string, colour: string}[], write: (value: number | null) => string,
   *     isWhole?: boolean}} options `colour`: the custom property's name; `isWhole`: there are no halves of it
   */
  constructor(place, { title, lines, write, isWhole = false }) {
    this.title = title;
    this.isWhole = isWhole;
    this.lines = lines;
    this.write = write;
    this.data = [[], ...lines.map(() => [])]; // seconds since 1970, then each line's values
    this.readout = element("p", { class: "readout number" });
    this.canvas = element("div", { class: "plot", role: "img" });
    const tablePlace = element("div");
    this.details = element("details", {}, element("summary", {}, "As a table"), tablePlace);
    this.table = new Table(
      tablePlace,
      `${title}, the newest first`,
      [{ name: "Time" }, ...lines.map(({ name }) => ({ name, number: true }))],
      "No reading yet",
    );
    this.details.addEventListener("toggle", () => this.tell());
    place.append(element("div", { class: "card" }, element("h3", {}, title), this.readout, this.canvas, this.details));
    this.plot = new uPlot(this.options(), this.data, this.canvas);
    new ResizeObserver(() => this.fit()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plot.redraw());
  }

  /** @param {number} at seconds since 1970 @param {(number | null)[]} values one for each line */
  add(at, values) {
    const [times] = this.data;
    if (times.length > 0 && at - times.at(-1) > GAP_S)
      this.push(
        times.at(-1) + 1,
        values.map(() => null),
      );
    this.push(at, values);
    while (times[0] < at - WINDOW_S) for (const line of this.data) line.shift();
    this.plot.setData(this.data);
    this.tell();
  }

  /** Begin anew. */
  clear() {
    for (const line of this.data) line.length = 0;
    this.plot.setData(this.data);
    this.tell();
  }

  push(at, values) {
    [at, ...values].forEach((value, line) => this.data[line].push(value));
  }

  /** As text: the newest figures, or those under the pointer. */
  tell() {
    const newest = this.data[0].length - 1;
    const at = this.plot?.cursor.idx ?? newest;
    const figures = this.lines.map(({ name, colour: property }, line) => {
      const figure = this.write(this.data[line + 1][at] ?? null);
      if (this.lines.length === 1) return element("span", {}, figure);
      return element(
        "span",
        {},
        element("span", { class: "swatch", "data-colour": property }),
        `${name} `,
        element("b", {}, figure),
      );
    });
    this.readout.replaceChildren(...figures);
    const parts = this.lines.map(({ name }, line) => `${name} ${this.write(this.data[line + 1][newest] ?? null)}`);
    this.canvas.setAttribute("aria-label", `${this.title} over the last five minutes; now ${parts.join(", ")}`);
    if (this.details.open) this.table.show(this.rows());
  }

  rows() {
    const rows = [];
    for (let index = this.data[0].length - 1; index >= 0 && rows.length < TABLE_ROWS; index -= 1) {
      const [at, ...values] = this.data.map((line) => line[index]);
      if (values.some((value) => value !== null)) rows.push([CLOCK.format(1000 * at), ...values.map(this.write)]);
    }
    return rows;
  }

  fit() {
    const width = this.canvas.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  options() {
    const axis = {
      stroke: () => colour("--muted"),
      grid: { stroke: () => colour("--line"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    return {
      width: this.canvas.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      hooks: { setCursor: [() => this.tell()] },
      padding: [8, 20, 0, 0],
      scales: {
        x: { time: true, range: (_, oldest, newest) => [Math.min(oldest, newest - LEAST_S), newest] },
        y: { range: (_, __, most) => [0, most > 0 ? 1.15 * most : 1] },
      },
      axes: [
        {
          ...axis,
          size: 27,
          gap: 8,
          space: 64,
          incrs: TIME_STEPS_S,
          values: (_, splits) => splits.map(clockText),
        },
        {
          ...axis,
          size: 48,
          gap: 6,
          space: 30,
          values: (_, splits) => splits.map(this.write),
          ...(this.isWhole ? { incrs: WHOLE_STEPS } : {}),
        },
      ],
      series: [
        {},
        ...this.lines.map(({ name, colour: property }) => ({
          label: name,
          stroke: () => colour(property),
          fill: this.lines.length === 1 ? () => `color-mix(in srgb, ${colour(property)} 12%, transparent)` : undefined,
          width: 1.75,
          points: { show: false },
          spanGaps: false,
        })),
      ],
    };
  }
}
