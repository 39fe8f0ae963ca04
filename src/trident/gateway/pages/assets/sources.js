// Where an answer has it from: the passages that the gateway gave the model, or citations alone.
// A link is one only where it leads to the web; a passage of a collection is shown, as reading it needs the key.

import { element } from "./session.js";

/** @param {import("./generation.js").Answer} answer */
export function sources({ annotations, passages = [] }) {
  const items = passages.length > 0 ? passages.map((each) => passageItem(each, annotations)) : citationItems(annotations);
  if (items.length === 0) return [];
  return [element("p", { class: "sources-title" }, "Sources"), element("ol", { class: "sources" }, ...items)];
}

function passageItem({ number, document, place, text, finding }, annotations) {
  const isCited = annotations.some(({ url_citation: cited }) => cited?.url?.endsWith(`#passage-${number}`));
  const notes = [
    ...(isCited ? [] : [" ", element("span", { class: "badge" }, "not cited")]),
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
