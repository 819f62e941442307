import { Fragment, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import type { NumberPart, Operand, Part } from "../../protocol/formulaParts";
import { useAppStore } from "../AppContext";
import { formatExactly, formatNumber } from "../formatNumber";

/** Of the numbers of a formula, and of what it gives: enough to multiply out on a pocket calculator. */
export const FORMULA_DIGITS = 4;

/** How the leaves of a formula are written. */
interface Leaves {
  operand(at: number): { text: ReactNode; negative: boolean };
  number(part: NumberPart): { text: ReactNode; negative: boolean };
  total: string;
}

interface FormulaProps {
  formula: Part;
  operands: Operand[];
  /** What all terms come to, where the formula is over that. */
  total?: number | null;
}

/** A formula with its real numbers and signs; each cell in it can be gone to. */
export function FormulaLine({ formula, operands, total = null }: FormulaProps) {
  return write(
    formula,
    {
      operand: (at) => {
        const operand = operands[at];
        return { text: operand && <OperandLink operand={operand} />, negative: (operand?.value ?? 0) < 0 };
      },
      number: (part) => ({ text: <Constant part={part} />, negative: (part.value ?? 0) < 0 }),
      total: formatNumber(total, FORMULA_DIGITS),
    },
    true,
  );
}

/** The same formula with what each number is. */
export function FormulaPattern({ formula, operands }: FormulaProps) {
  return write(
    formula,
    {
      operand: (at) => ({ text: nameOf(operands[at]), negative: false }),
      number: (part) => ({ text: part.name.replaceAll(" ", "\u00a0"), negative: false }),
      total: "Σ",
    },
    true,
  );
}

/** Weights by the last two parts of their name, sites by their address. */
function nameOf(operand: Operand | undefined): string {
  return operand?.name.split(".").slice(-2).join(".") ?? "";
}

/** `leads`: no sign stands before it, so that a negative number needs no brackets. */
function write(part: Part, leaves: Leaves, leads: boolean): ReactNode {
  switch (part.kind) {
    case "operand":
    case "number": {
      const { text, negative } = part.kind === "operand" ? leaves.operand(part.at) : leaves.number(part);
      return negative && !leads ? <>({text})</> : text;
    }
    case "total":
      return leaves.total;
    case "term":
      return part.label;
    case "sum":
      return join(
        part.parts.map((each, at) => write(each, leaves, at === 0)),
        "+",
      );
    case "product": {
      const factors = part.parts.map((each, at) => bracketed(each, leaves, leads && at === 0, "sum"));
      const divisors = part.divisors.map((each) => bracketed(each, leaves, false, "product"));
      return join([join(factors, "×"), ...divisors], "÷");
    }
    case "function":
      return (
        <>
          {part.function}({write(part.of, leaves, true)})
        </>
      );
  }
}

/** In brackets where the part is a sum, or `weakest` and would read otherwise. */
function bracketed(part: Part, leaves: Leaves, leads: boolean, weakest: Part["kind"]): ReactNode {
  const needed = part.kind === "sum" || part.kind === weakest;
  return needed ? <>({write(part, leaves, true)})</> : write(part, leaves, leads);
}

function join(parts: ReactNode[], sign: string): ReactNode {
  return parts.map((part, at) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: a formula does not change its order
    <Fragment key={at}>
      {at > 0 && <span className="sign">{` ${sign} `}</span>}
      {part}
    </Fragment>
  ));
}

/** A constant, or what a row came to: not a cell, so it has a name and no place. */
function Constant({ part }: { part: NumberPart }) {
  return (
    <span className="constant" title={`${part.name}: ${formatExactly(part.value)}`}>
      {formatNumber(part.value, FORMULA_DIGITS)}
    </span>
  );
}

function OperandLink({ operand }: { operand: Operand }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const where = `${operand.name}[${operand.index.join(", ")}]`;
  return (
    <button
      type="button"
      className="operand mono"
      data-kind={operand.kind}
      title={t("explanation.follow", { name: operand.name, index: `[${operand.index.join(", ")}]` })}
      aria-label={`${where}: ${formatNumber(operand.value, FORMULA_DIGITS)}`}
      onClick={() => store.setState({ selection: { address: operand.name, index: operand.index } })}
    >
      {formatNumber(operand.value, FORMULA_DIGITS)}
    </button>
  );
}
