// The official Node client against a running server. Prints what it was given as one JSON object.
// usage: node ask.mjs BASE_URL MODEL_ID MESSAGES_AS_JSON
import OpenAI from "openai";

const [baseURL, model, messages] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none-is-needed", maxRetries: 0, timeout: 30_000 });
const request = { model, messages: JSON.parse(messages), temperature: 1, seed: 3, max_tokens: 40 };

const models = [];
for await (const found of client.models.list()) models.push(found.id);

const whole = await client.chat.completions.create({ ...request, n: 2, logprobs: true, top_logprobs: 2 });

const pieces = [];
let usage = null;
const stream = await client.chat.completions.create({
	...request,
	stream: true,
	stream_options: { include_usage: true },
});
for await (const chunk of stream) {
	if (chunk.choices.length > 0) pieces.push(chunk.choices[0].delta.content ?? "");
	usage = chunk.usage ?? usage;
}

// The client's helper puts chunks together by itself and is strict about their order.
const helped = await client.chat.completions.stream({ ...request, n: 2 }).finalChatCompletion();

const texts = [];
const completion = { model, prompt: "the quick", temperature: 0, max_tokens: 20 };
for await (const chunk of await client.completions.create({ ...completion, stream: true })) {
	texts.push(chunk.choices[0].text);
}

const errors = [];
const tools = [{ type: "function", function: { name: "look", parameters: { type: "nonsense" } } }];
for (const change of [{ model: "nobody/nothing" }, { tools }, { temperature: -1, stream: true }]) {
	try {
		await client.chat.completions.create({ ...request, ...change });
	} catch (error) {
		errors.push([error.constructor.name, error.status, error.param, error.code]);
	}
}

// Hangs up after a few pieces.
let heard = 0;
const endless = { ...completion, max_tokens: 3500, n: 2, stream: true };
for await (const _ of await client.completions.create(endless)) {
	heard += 1;
	if (heard === 5) break;
}

console.log(JSON.stringify({ models, whole, pieces, usage, helped, texts, errors, heard }));
