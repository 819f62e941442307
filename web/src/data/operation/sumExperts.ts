import type { Operation } from "./Inputs";
import { NotFollowedError } from "./Operands";

/** What each chosen expert makes of a position. Experts are modules of the model, which an export does not hold. */
export const sumExpertsOperation: Operation = {
  attributes: ["module"],

  async cell() {
    throw new NotFollowedError("experts");
  },
};
