// What a page keeps in its tab: as JSON, under names of its own, until the tab is closed or the reader signs out.

/** What is kept under this name, or `otherwise`. */
export function kept(name, otherwise) {
  const text = sessionStorage.getItem(name);
  return text === null ? otherwise : JSON.parse(text);
}

/** Whether it could be kept: a tab has room for some five million characters. */
export function keep(name, value) {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}
