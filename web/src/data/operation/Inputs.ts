import type { Equation, Operand } from "../../protocol/schema.generated";
import { cellOf, type ExplainedCell } from "./ExplainedCell";
import { type Given, NotFollowedError, type Operands, siteOf } from "./Operands";
import { distinct, operandOf } from "./term";

/** One of the closed set. Indices are those of the equation's own result. */
export interface Operation {
  /** The constants that are understood here. An equation with any other is left to the server. */
  attributes: readonly string[];
  /** One cell: its value, its terms with their formulas, and how it reads with numbers. */
  cell(inputs: Inputs, index: number[]): Promise<ExplainedCell>;
  /** All cells along the last axis at `index`, which leaves that axis out; cell by cell where it is not given. */
  row?(inputs: Inputs, index: number[]): Promise<number[]>;
}

export type Operations = Readonly<Record<Equation["operation"], Operation>>;

/** The inputs and constants of one equation. `operations` computes what is nested in it. */
export class Inputs {
  readonly equation: Equation;
  readonly operands: Operands;
  readonly #operations: Operations;

  constructor(equation: Equation, operands: Operands, operations: Operations) {
    this.equation = equation;
    this.operands = operands;
    this.#operations = operations;
  }

  get attributes(): Record<string, unknown> {
    return this.equation.attributes ?? {};
  }

  get count(): number {
    return this.equation.inputs.length;
  }

  given(at: number): Given | undefined {
    return this.equation.inputs[at];
  }

  /** The cell of the equation itself, none of its terms labelled as another is. */
  async explain(index: number[]): Promise<ExplainedCell> {
    const cell = await this.#operation().cell(this, index);
    return { ...cell, terms: distinct(cell.terms) };
  }

  /** One cell of an input, as a single term where it is a site or a weight. */
  async cell(at: number, index: number[]): Promise<ExplainedCell> {
    const nested = this.#nested(at);
    return nested ? nested.explain(index) : cellOf(await this.read(at, index));
  }

  /** All values along the last axis of a site or an equation at `index`, which leaves that axis out. */
  async row(at: number, index: number[]): Promise<number[]> {
    const nested = this.#nested(at);
    if (nested) return nested.#row(index);
    return Array.from(await this.operands.readSite(siteOf(this.given(at)).address, [...index, null]));
  }

  /** One cell of a site or a weight, and its value, which the message leaves out where it is not finite. */
  async read(at: number, index: number[]): Promise<{ operand: Operand; value: number }> {
    const given = this.given(at);
    if (given?.kind === "weight") {
      const [first = 0, ...within] = index;
      const stored = [first + (given.start ?? 0), ...within];
      const [value = Number.NaN] = Array.from(await this.operands.readWeight(given.name, stored));
      return { operand: operandOf("weight", given.name, stored, value), value };
    }
    const { address } = siteOf(given);
    const [value = Number.NaN] = Array.from(await this.operands.readSite(address, index));
    return { operand: operandOf("site", address, index, value), value };
  }

  async #row(index: number[]): Promise<number[]> {
    const { row } = this.#operation();
    if (row) return row(this, index);
    const { length } = await this.row(0, index);
    const cells = Array.from({ length }, (_, at) => this.explain([...index, at]));
    return (await Promise.all(cells)).map((cell) => cell.value);
  }

  #nested(at: number): Inputs | null {
    const given = this.given(at);
    if (given?.kind !== "equation") return null;
    return new Inputs(given.equation, this.operands, this.#operations);
  }

  #operation(): Operation {
    const operation = this.#operations[this.equation.operation];
    const isKnown = Object.keys(this.attributes).every((name) => operation?.attributes.includes(name));
    if (!operation || !isKnown) throw new NotFollowedError(this.equation.operation);
    return operation;
  }
}
