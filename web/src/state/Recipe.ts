import type { ChatMessage, Intervention } from "../protocol/schema.generated";

/** What a recording was given where that is more than the text of the prompt box: enough to make it again exactly. */
export interface Recipe {
  /** In place of a text, which need not give the same ids again. */
  tokenIds: number[] | null;
  /** The conversation that it goes on with; beside `tokenIds` it only says how to read them. */
  messages: ChatMessage[] | null;
  /** The position from which on the tokens were written by a model, where that is among the ids given. */
  answerFrom: number | null;
  /** The first tokens to be written, asked for and not drawn. */
  forced: number[];
  interventions: Intervention[];
}

export const GIVEN_TEXT: Recipe = {
  tokenIds: null,
  messages: null,
  answerFrom: null,
  forced: [],
  interventions: [],
};
