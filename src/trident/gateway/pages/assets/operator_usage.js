// Usage and costs, from the ledger: sums by what the reader chooses.

import { askJson, element } from "./session.js";
import { Table } from "./operator_table.js";
import { beginOf, count, day, duration, money, short } from "./operator_text.js";

const DIMENSIONS = ["tenant", "model", "day", "deployment", "version", "key", "api"];
const MAX_ROWS = 200;
const FIGURES = [
  { name: "Requests", write: (row) => count(row.requests) },
  { name: "Errors", write: (row) => count(row.errors) },
  { name: "From cache", write: (row) => count(row.cache_hits) },
  { name: "Tokens in", write: (row) => count(row.input_tokens) },
  { name: "Tokens out", write: (row) => count(row.output_tokens) },
  { name: "Engine s", write: (row) => short(row.engine_s) },
  { name: "Price", write: (row) => money(row.price) },
  { name: "Cost", write: (row) => money(row.cost) },
  {
    name: "TTFT",
    write: (row) => (row.ttft_s === undefined ? "" : duration(row.ttft_s === null ? null : 1000 * row.ttft_s)),
  },
  { name: "Score", write: (row) => (row.score === undefined ? "" : short(row.score)) },
];

const place = (id) => document.getElementById(id);

/** The section, with its form. */
export class Usage {
  constructor() {
    this.form = place("usage-form");
    this.shown = ""; // the dimensions of the table that is there
    this.number = 0; // of the question that was asked last
    place("usage-by").append(...DIMENSIONS.map((name) => element("option", { value: name }, name)));
    place("usage-then").append(
      element("option", { value: "" }, "nothing more"),
      ...DIMENSIONS.map((name) => element("option", { value: name }, name)),
    );
    place("usage-then").value = "model";
    this.form.addEventListener("change", () => this.refresh());
    this.form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Ask the ledger, and show what it says; a failure is said in the section. */
  async refresh() {
    const number = (this.number += 1);
    const form = new FormData(this.form);
    const by = [...new Set([form.get("by"), form.get("then")])].filter(Boolean);
    const query = new URLSearchParams(by.map((name) => ["by", name]));
    query.set("since", String(beginOf(form.get("since"))));
    try {
      const told = await askJson(`admin/usage?${query}`);
      if (number === this.number) this.show(by, told);
      place("usage-notice").hidden = true;
    } catch (error) {
      place("usage-notice").textContent = error.message;
      place("usage-notice").hidden = false;
    }
  }

  show(by, { rows, lost }) {
    if (by.join() !== this.shown) {
      this.shown = by.join();
      const columns = [
        ...by.map((name) => ({ name: name[0].toUpperCase() + name.slice(1) })),
        ...FIGURES.map(({ name }) => ({ name, number: true })),
      ];
      this.table = new Table(place("usage-table"), "Usage and costs", columns, "No request in this time");
    }
    const ordered = by[0] === "day" ? rows.toSorted((one, other) => other.day - one.day) : rows;
    const lines = ordered
      .slice(0, MAX_ROWS)
      .map((row) => [...by.map((name) => nameOf(name, row[name])), ...FIGURES.map(({ write }) => write(row))]);
    if (rows.length > 1)
      lines.push(["All", ...by.slice(1).map(() => ""), ...FIGURES.map(({ write }) => write(sumOf(rows)))]);
    this.table.show(lines);
    const cut = rows.length > MAX_ROWS ? `The first ${MAX_ROWS} of ${count(rows.length)} rows. ` : "";
    const gone = lost ? ` ${count(lost)} rows are lost: the spool was full while the database was away.` : "";
    place("usage-note").textContent = `${cut}Price: what tokens are sold for. Cost: the engines' time.${gone}`;
  }
}

function nameOf(dimension, value) {
  if (dimension === "day") return day(value);
  return value === "" ? { muted: dimension === "deployment" ? "none (cache, refused)" : "none" } : value;
}

function sumOf(rows) {
  const names = ["requests", "errors", "cache_hits", "input_tokens", "output_tokens", "engine_s", "price", "cost"];
  return Object.fromEntries(names.map((name) => [name, rows.reduce((total, row) => total + row[name], 0)]));
}
