import type { Token } from "./schema.generated";

/** A token of the prompt box; one that the tokenizer adds and that is not run is left off. */
export type PromptToken = Token & { leftOff?: boolean };
