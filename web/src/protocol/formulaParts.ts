import type { Term } from "./schema.generated";

/** A part of a formula; the messages name each kind, and their union only where it is used. */
export type Part = Term["formula"];

export type { NumberPart, Operand, ProductPart, Term } from "./schema.generated";
