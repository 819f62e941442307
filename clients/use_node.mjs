// The official client for Node and Vercel's AI SDK.
import { readFileSync } from "node:fs";

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const baseURL = `${process.env.GLASSFORMER_URL}/v1`;
const model = process.env.GLASSFORMER_MODEL;
const apiKey = "none-is-needed";
const question = "Mia gives the ball to Tom. Who has the ball?";
const which = process.argv[2];

const client = new OpenAI({ baseURL, apiKey });
const messages = [{ role: "user", content: question }];
const weather = { type: "object", properties: { city: { type: "string", enum: ["Rome", "Oslo"] } }, required: ["city"], additionalProperties: false };

function assert(holds, why = "it does not hold") {
  if (!holds) throw new Error(why);
}

const official = {
  async chat() {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 20 });
    assert(answer.choices[0].message.content);
  },
  async stream() {
    const events = client.chat.completions.stream({ model, messages, max_tokens: 20 });
    assert((await events.finalChatCompletion()).choices[0].message.content);
  },
  async tools() {
    const tools = [{ type: "function", function: { name: "weather", parameters: weather } }];
    const first = await client.chat.completions.create({ model, messages, tools, tool_choice: "required", max_tokens: 400 });
    const { message } = first.choices[0];
    const results = message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "sunny" }));
    const last = await client.chat.completions.create({ model, messages: [...messages, message, ...results], max_tokens: 20 });
    assert(last.choices[0].message.content);
  },
  async responses() {
    const answer = await client.responses.create({ model, input: question, max_output_tokens: 20 });
    assert(answer.output_text);
    const events = client.responses.stream({ model, input: question, max_output_tokens: 20 });
    const final = await events.finalResponse();
    assert(final.output.length === 1);
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model, input: ["one", "two"] });
    assert(answer.data.length === 2 && answer.data[0].embedding.length > 8);
  },
};

const compatible = createOpenAICompatible({ name: "glass", baseURL, apiKey, supportsStructuredOutputs: true });
const openai = createOpenAI({ baseURL, apiKey });
const schema = z.object({ sure: z.boolean() });
const tools = {
  weather: tool({
    description: "How it is in a city.",
    inputSchema: z.object({ city: z.enum(["Rome", "Oslo"]) }),
    execute: async ({ city }) => `It is sunny in ${city}.`,
  }),
};

const sdk = {
  async generateText() {
    assert((await generateText({ model: compatible(model), prompt: question, maxOutputTokens: 20 })).text);
  },
  async streamText() {
    const { textStream } = streamText({ model: compatible(model), prompt: question, maxOutputTokens: 20 });
    let text = "";
    for await (const part of textStream) text += part;
    assert(text);
  },
  async generateObject() {
    const { object } = await generateObject({ model: compatible(model), schema, prompt: question, maxOutputTokens: 100 });
    assert(typeof object.sure === "boolean");
  },
  async tools() {
    const found = await generateText({
      model: compatible(model), prompt: question, tools, stopWhen: stepCountIs(2), maxOutputTokens: 400,
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
    });
    assert(found.steps[0].toolResults.length > 0 && found.steps.length === 2, `${found.steps.length} steps`);
  },
  async "responses, with tools"() {
    const found = await generateText({
      model: openai.responses(model), prompt: question, tools, stopWhen: stepCountIs(2), maxOutputTokens: 400,
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
    });
    assert(found.steps[0].toolResults.length > 0 && found.steps.length === 2, `${found.steps.length} steps`);
  },
  async "responses, streamed"() {
    const { textStream } = streamText({ model: openai.responses(model), prompt: question, maxOutputTokens: 20 });
    let text = "";
    for await (const part of textStream) text += part;
    assert(text);
  },
  async embed() {
    const { embedding } = await embed({ model: compatible.embeddingModel(model), value: "one" });
    assert(embedding.length > 8);
  },
};

const packages = which === "sdk" ? ["ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible"] : ["openai"];
const versions = Object.fromEntries(
  packages.map((name) => [name, JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version]),
);
console.log(JSON.stringify({ versions }));
for (const [check, make] of Object.entries(which === "sdk" ? sdk : official)) {
  try {
    await make().catch(make); // a random model may end at once
    console.log(JSON.stringify({ check, ok: true }));
  } catch (error) {
    console.log(JSON.stringify({ check, ok: false, why: String(error.message ?? error).slice(0, 300) }));
    console.error(error);
  }
}
process.exit(0);
