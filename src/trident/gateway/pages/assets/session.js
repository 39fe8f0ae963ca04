// The reader's session with the gateway: his API key, requests with it, and the question for it when it is missing.
// The key is in sessionStorage: it ends with the tab, and no other page can read it.
// Nothing here makes HTML of text: every text is put in as text.

const KEY = "trident.key";
const ROOT = new URL("../", import.meta.url); // the gateway's, also behind a proxy that adds a path before it

/** What the gateway, or the way to it, said against a request. `status` 0: no answer came. */
export class ApiError extends Error {
  /** @param {{status: number, message: string, param?: string | null, code?: string | null, requestId?: string}} told */
  constructor({ status, message, param = null, code = null, requestId = "" }) {
    super(message);
    this.name = "ApiError";
    Object.assign(this, { status, param, code, requestId });
  }
}

/** A new element: `element("p", {class: "muted", id: "x"}, "text", child)`. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/** Whether a key is kept. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/**
 * The gateway's answer to a request at `path` ("v1/models"), once it is a good one; after a 401 the reader is asked for
 * a key and the request is sent again.
 * @param {string} path without a slash before it
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options] `body` is
 *     sent as JSON
 * @returns {Promise<Response>}
 * @throws {ApiError} it was refused, or no answer came
 * @throws {DOMException} AbortError: `signal` ended it
 */
export async function ask(path, options = {}) {
  let answer = await send(path, options);
  while (answer.status === 401) {
    await signIn((await faultOf(answer)).message);
    answer = await send(path, options);
  }
  if (!answer.ok) throw await faultOf(answer);
  return answer;
}

/** Likewise, and the JSON in it. */
export async function askJson(path, options = {}) {
  return (await ask(path, options)).json();
}

/** @param {{error?: unknown}} body of an answer or an event @param {Response} answer */
export function faultIn(body, answer) {
  const error = body?.error;
  const requestId = answer.headers.get("x-request-id") ?? "";
  if (typeof error === "string") return new ApiError({ status: answer.status, message: error, requestId });
  if (typeof error?.message === "string") return new ApiError({ ...error, status: answer.status, requestId });
  return new ApiError({ status: answer.status, message: `the gateway answered ${answer.status}`, requestId });
}

async function send(path, { method, body, headers = {}, signal }) {
  const key = sessionStorage.getItem(KEY);
  try {
    return await fetch(new URL(path, ROOT), {
      method: method ?? (body === undefined ? "GET" : "POST"),
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: {
        ...headers,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      },
      signal,
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ status: 0, message: "the gateway cannot be reached; is it running?" });
  }
}

async function faultOf(answer) {
  let body = null;
  try {
    body = await answer.json();
  } catch {
    // Not the gateway's own answer, a proxy's perhaps: its status says enough.
  }
  return faultIn(body, answer);
}

let asking = null; // one question for all requests that were refused meanwhile

/**
 * Ask the reader for a key.
 * @param {string} reason why, in one line
 * @throws {ApiError} he gave none
 */
export function signIn(reason = "") {
  asking ??= askForKey(reason).finally(() => {
    asking = null;
  });
  return asking;
}

function askForKey(reason) {
  const field = element("input", {
    id: "key-field",
    type: "password",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "key-reason",
  });
  const cancel = element("button", { type: "button" }, "Cancel");
  const form = element(
    "form",
    { class: "stack" },
    element("h2", { id: "key-title" }, "Sign in"),
    element("p", { id: "key-reason", class: hasKey() ? "fault" : "muted small", role: hasKey() ? "alert" : null }, reason),
    element("div", { class: "field" }, element("label", { for: "key-field" }, "API key"), field),
    element("p", { class: "muted small" }, "Kept in this tab until it is closed."),
    element("div", { class: "row" }, element("button", { class: "primary", type: "submit" }, "Sign in"), cancel),
  );
  const dialog = element("dialog", { "aria-labelledby": "key-title" }, form);
  document.body.append(dialog);
  return new Promise((resolve, reject) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = field.value.trim();
      if (!key) return;
      sessionStorage.setItem(KEY, key);
      dialog.close("given");
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      showKeyButtons();
      if (dialog.returnValue === "given") resolve();
      else reject(new ApiError({ status: 401, message: "the gateway asks for an API key" }));
    });
    dialog.showModal();
    field.focus();
  });
}

/** Forget the key and what the pages keep in this tab. */
export function signOut() {
  addEventListener("pagehide", () => sessionStorage.clear()); // after what a page keeps when it is left
  sessionStorage.clear();
  location.reload();
}

/** Every `<button data-sign-out>` is seen while a key is kept, and forgets it. */
function showKeyButtons() {
  for (const button of document.querySelectorAll("[data-sign-out]")) button.hidden = !hasKey();
}

for (const button of document.querySelectorAll("[data-sign-out]")) button.addEventListener("click", signOut);
showKeyButtons();
