// Where an answer has it from: the passages that the gateway gave the model, or citations alone.
// A link is one only where it leads to the web; a passage of a collection is shown, as reading it needs the key.

import { element } from "./session.js";

/** @param {import("./generation.js").Answer} answer */
export function sources({ text, annotations, passages = [] }) {
  const cited = passages.length > 0 ? citedNumbers(text, annotations) : new Set();
  const items = passages.length > 0 ? passages.map((each) => passageItem(each, cited)) : citationItems(annotations);
  if (items.length === 0) return [];
  return [element("p", { class: "sources-title" }, "Sources"), element("ol", { class: "sources" }, ...items)];
}

/** Of the passages that marks in the text name: each annotation says where its mark is, in characters. */
function citedNumbers(text, annotations) {
  const characters = [...text];
  const marks = annotations.map(({ url_citation: it }) => characters.slice(it?.start_index, it?.end_index ?? 0));
  return new Set(marks.flatMap((mark) => mark.join("").match(/\d+/g) ?? []).map(Number));
}

function passageItem({ number, document, place, text, finding }, cited) {
  const notes = [
    ...(cited.has(number) ? [] : [" ", element("span", { class: "badge" }, "not cited")]),
    ...(finding ? [" ", element("span", { class: "badge warn" }, finding)] : []),
  ];
  const summary = element("summary", {}, [document, place].filter(Boolean).join(", "), ...notes);
  return element("li", { value: number }, element("details", {}, summary, element("p", { class: "passage" }, text)));
}

function citationItems(annotations) {
  const seen = new Map();
  for (const annotation of annotations) {
    const source = annotation[annotation.type] ?? annotation;
    const name = source.title || source.filename || source.url || source.file_id;
    if (name) seen.set(source.url || name, { name, url: source.url ?? "" });
  }
  return [...seen.values()].map(({ name, url }) => {
    const isOfTheWeb = /^https?:\/\//i.test(url);
    const link = { href: url, target: "_blank", rel: "noopener noreferrer nofollow" };
    return element("li", {}, isOfTheWeb ? element("a", link, name) : name);
  });
}
