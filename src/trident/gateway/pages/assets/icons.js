// Small drawings for buttons, in the colour of their text.

const NAMESPACE = "http://www.w3.org/2000/svg";
const THUMB = "M7 11v9H4.5a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1Zm0 0 3.7-7.5a2.3 2.3 0 0 1 2.3 2.3V9h5.4a2 2 0 0 1 2 2.3l-1.1 7a2 2 0 0 1-2 1.7H7";
const SHAPES = {
  copy: "M9 9h10.5v11.5H9zM15 5.5v-2H4.5V15H6",
  edit: "M4 20h4L19.5 8.5l-4-4L4 16Zm9-13 4 4",
  retry: "M4.5 12a7.5 7.5 0 1 0 2.3-5.4L4.5 9m0-5v5h5",
  up: THUMB,
  down: THUMB,
};

/** @param {keyof SHAPES} name */
export function icon(name) {
  const drawing = document.createElementNS(NAMESPACE, "svg");
  const path = document.createElementNS(NAMESPACE, "path");
  const look = { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 1.8, "aria-hidden": "true" };
  for (const [attribute, value] of Object.entries(look)) drawing.setAttribute(attribute, value);
  path.setAttribute("d", SHAPES[name]);
  path.setAttribute("stroke-linecap", "round");
  path.setAttribute("stroke-linejoin", "round");
  if (name === "down") path.setAttribute("transform", "rotate(180 12 12)");
  drawing.append(path);
  return drawing;
}
