import { execFileSync } from "node:child_process";
import { python, repository } from "./server.ts";

export interface Reference {
  token_ids: number[];
  /** Each id decoded alone. */
  tokens: string[];
  /** In the order asked for. */
  values: number[];
  /** The prompt's greedy continuation by `generate()`. */
  greedy_ids: number[];
}

export interface Question {
  model: string;
  prompt?: string;
  tokenIds?: number[];
  cells?: { address: string; index: number[] }[];
  newTokens?: number;
}

/** What plain transformers computes (eager attention, none of our code): the truth the page is held against. */
export function askTransformers(question: Question): Reference {
  const answer = execFileSync(python, [`${repository}tests/reference/plain_transformers.py`], {
    cwd: repository,
    input: JSON.stringify(question),
    env: { ...process.env, HF_HUB_OFFLINE: "1" },
    encoding: "utf8",
    maxBuffer: 64 * 2 ** 20,
  });
  return JSON.parse(answer) as Reference;
}
