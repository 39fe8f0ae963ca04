// One answer of the model: the request, its events, its times and what the gateway says of it. Nothing of the page.

import { ApiError, ask, faultIn } from "./session.js";

/**
 * @typedef {object} Answer
 * @property {"assistant"} role
 * @property {string} text
 * @property {string} reasoning
 * @property {object[]} annotations OpenAI's: where the answer says it has this from
 * @property {object[]} passages of documents that the model was given
 * @property {Figures} figures
 * @property {{message: string, requestId: string} | null} fault
 * @property {"up" | "down" | null} thumb
 *
 * @typedef {object} Figures
 * @property {number} [ttftMs] from the request to the first text
 * @property {number} [tokensPerS] from the first text to the last, without the first token
 * @property {number} [input] tokens
 * @property {number} [cached] tokens of the input that the engine knew already
 * @property {number} [output] tokens
 * @property {string} [finish] OpenAI's finish reason, or "stopped"
 * @property {string} [model]
 * @property {string} [deployment]
 * @property {string} [route] why this deployment
 * @property {string} [cache] exact, semantic, shared, miss or bypass
 * @property {string} [cacheReason]
 * @property {string} [requestId]
 */

/** @returns {Answer} */
export function emptyAnswer() {
  return { role: "assistant", text: "", reasoning: "", annotations: [], passages: [], figures: {}, fault: null, thumb: null };
}

/**
 * Fill `answer` as the model writes it. What goes wrong is in `answer.fault` in the end, beside the text so far.
 * @param {object} body of the request, without what makes it a stream
 * @param {Answer} answer
 * @param {{signal: AbortSignal, asksAnew: boolean, onChange: () => void}} how `asksAnew`: no kept answer will do
 */
export async function generate(body, answer, { signal, asksAnew, onChange }) {
  const times = { began: performance.now(), first: 0, last: 0 };
  try {
    const response = await ask("v1/chat/completions", {
      body: { ...body, stream: true, stream_options: { include_usage: true } },
      headers: asksAnew ? { "cache-control": "no-cache" } : {},
      signal,
    });
    Object.assign(answer.figures, figuresOf(response.headers), { model: body.model });
    onChange();
    for await (const event of events(response)) {
      if (event.error) throw faultIn(event, response);
      take(event, answer, times);
      onChange();
    }
  } catch (error) {
    if (error.name === "AbortError") answer.figures.finish = "stopped";
    else answer.fault = { message: error.message, requestId: error.requestId || answer.figures.requestId || "" };
  }
  const { first, last } = times;
  const after = (answer.figures.output ?? 0) - 1;
  if (after > 0 && last > first) answer.figures.tokensPerS = (1000 * after) / (last - first);
}

/**
 * What the events of a response hold, to `[DONE]`.
 * @param {Response} response
 * @throws {ApiError} it ended before that
 */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let isWhole = false;
  try {
    for (;;) {
      const { done, value } = await read(reader);
      if (done && isWhole) return;
      if (done) throw broken();
      const lines = (rest + value).split(/\r\n|\r|\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue; // a heartbeat, or the end of an event
        const data = line.slice(5).trim();
        if (data === "[DONE]") isWhole = true;
        else yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have failed already, which was told
  }
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    throw error.name === "AbortError" ? error : broken();
  }
}

function broken() {
  return new ApiError({ status: 0, message: "the connection broke before the answer was complete" });
}

/** @param {Answer} answer @param {{began: number, first: number, last: number}} times */
function take(event, answer, times) {
  const choice = event.choices?.[0];
  const delta = choice?.delta ?? {};
  if (delta.content || delta.reasoning_content) {
    times.last = performance.now();
    if (!times.first) {
      times.first = times.last;
      answer.figures.ttftMs = times.first - times.began;
    }
  }
  answer.text += delta.content ?? "";
  answer.reasoning += delta.reasoning_content ?? "";
  answer.annotations.push(...(delta.annotations ?? []));
  answer.passages.push(...(event.retrieval?.passages ?? []));
  if (choice?.finish_reason) answer.figures.finish = choice.finish_reason;
  if (event.usage) {
    answer.figures.input = event.usage.prompt_tokens;
    answer.figures.output = event.usage.completion_tokens;
    answer.figures.cached = event.usage.prompt_tokens_details?.cached_tokens ?? 0;
  }
}

/** @returns {Figures} */
function figuresOf(headers) {
  return {
    requestId: headers.get("x-request-id") ?? "",
    deployment: headers.get("x-trident-deployment") ?? "",
    route: headers.get("x-trident-route") ?? "",
    cache: headers.get("x-trident-cache") ?? "",
    cacheReason: headers.get("x-trident-cache-reason") ?? "",
  };
}
