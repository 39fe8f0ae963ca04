// OpenAI's client for Node against the gateway: prints one JSON object of what it saw. Arguments: base URL.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: "any", baseURL: `${process.argv[2]}/v1`, maxRetries: 0 });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const greedy = { model: "smollm2", temperature: 0, messages, max_completion_tokens: 12 };
const city = {
  type: "object",
  properties: { city: { type: "string", maxLength: 20 } },
  required: ["city"],
  additionalProperties: false,
};
const seen = {};

const whole = await client.chat.completions.create(greedy);
seen.whole = whole.choices[0].message.content;
seen.usage = whole.usage.total_tokens;
seen.requestId = whole._request_id;

seen.streamed = "";
const stream = await client.chat.completions.create({
  ...greedy,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  seen.streamed += chunk.choices[0]?.delta?.content ?? "";
  seen.streamedUsage = chunk.usage?.total_tokens ?? seen.streamedUsage;
}

const called = await client.chat.completions.create({
  ...greedy,
  max_completion_tokens: 60,
  tools: [{ type: "function", function: { name: "show_city", parameters: city } }],
  tool_choice: { type: "function", function: { name: "show_city" } },
});
const call = called.choices[0].message.tool_calls[0];
seen.called = [call.function.name, Object.keys(JSON.parse(call.function.arguments))];

const format = { type: "json_schema", json_schema: { name: "city", strict: true, schema: city } };
const guided = await client.chat.completions.create({ ...greedy, max_completion_tokens: 60, response_format: format });
seen.guided = Object.keys(JSON.parse(guided.choices[0].message.content));

const several = await client.completions.create({ model: "simulated", prompt: ["a", "b"], max_tokens: 3, echo: true });
seen.prompts = several.choices.map((choice) => choice.text[0]);

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);

seen.errors = [];
for (const wrong of [{ model: "gpt-5" }, { temperature: 3 }, { logit_bias: { 50: 1 } }]) {
  try {
    await client.chat.completions.create({ ...greedy, ...wrong });
  } catch (error) {
    seen.errors.push([error.constructor.name, error.status, error.code, error.param]);
  }
}

// A client that leaves: the stream ends here, and nothing hangs.
const left = await client.chat.completions.create({ ...greedy, model: "simulated", max_tokens: 1000, max_completion_tokens: null, stream: true });
for await (const chunk of left) {
  if (chunk.choices[0]?.delta?.content) break;
}
seen.left = left.controller.signal.aborted;

console.log(JSON.stringify(seen));
