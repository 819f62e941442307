import { useTranslation } from "react-i18next";
import type { Explanation, Term } from "../../protocol/schema.generated";
import { tokenAt } from "../../state/selectors";
import { useApp } from "../AppContext";
import { formatCount, formatExactly, formatNumber } from "../formatNumber";
import { TokenText } from "../TokenText";
import { countNumbers } from "./countNumbers";
import { FORMULA_DIGITS, FormulaLine, FormulaPattern } from "./FormulaLine";

const SHOWN_TERMS = 12;
/** Formulas of more numbers stand on a line of their own. */
const SHORT_FORMULA = 2;

/** What the cell was computed from, each term multiplied out, and what they come to. */
export function Terms({ explanation }: { explanation: Explanation }) {
  const { t } = useTranslation();
  const { terms, result } = explanation;
  if (terms.length === 0) return null;
  const own = result.kind === "term" ? result.label : null;
  const last =
    terms.length > SHOWN_TERMS ? terms.filter((term, at) => at >= SHOWN_TERMS && term.label === own) : [];
  const shown = [...terms.slice(0, SHOWN_TERMS - last.length), ...last];
  const hidden = terms.filter((term) => !shown.includes(term));
  const restCount = explanation.rest_count + hidden.length;
  const restSum = sum([explanation.rest_sum, ...hidden.map((term) => term.contribution)]);
  const total = sum([restSum, ...shown.map((term) => term.contribution)]);
  const signed = terms.some((term) => (term.contribution ?? 0) < 0);
  const largest = Math.max(...terms.map((term) => Math.abs(term.contribution ?? 0)), 1e-30);
  const pattern = findPattern(terms);
  return (
    <>
      <h3>{t("explanation.terms")}</h3>
      {pattern && (
        <p className="hint term-pattern" data-testid="term-pattern">
          {t(`explanation.${pattern.whose}`)}{" "}
          <span className="mono">
            <FormulaPattern formula={pattern.term.formula} operands={pattern.term.operands} />
          </span>
        </p>
      )}
      <ol className="terms">
        {shown.map((term) => (
          <TermRow
            key={term.label}
            term={term}
            isCell={term.label === own}
            largest={largest}
            signed={signed}
          />
        ))}
        {restCount > 0 && (
          <li className="term" data-testid="terms-rest">
            <span className="term-label">{t("explanation.rest", { number: formatCount(restCount) })}</span>
            <Contribution value={restSum} />
          </li>
        )}
        <li className="term term-total" data-testid="terms-total" data-kind={result.kind}>
          {result.kind === "total" && <span className="term-label">{t("explanation.sum")}</span>}
          {result.kind === "term" && (
            <span className="term-label">{t("explanation.oneOf", { term: result.label })}</span>
          )}
          {result.kind !== "total" && result.kind !== "term" && (
            <>
              <span className="term-label">{t("explanation.ofSum")}</span>
              <span className="term-formula mono">
                <FormulaLine formula={result} operands={[]} total={total} />
                <span className="sign"> =</span>
              </span>
            </>
          )}
          <Contribution value={explanation.recomputed} />
        </li>
      </ol>
    </>
  );
}

interface TermRowProps {
  term: Term;
  /** The cell is this very term, one share among the others. */
  isCell: boolean;
  largest: number;
  /** Bars start in the middle where some terms are negative, else at the left. */
  signed: boolean;
}

function TermRow({ term, isCell, largest, signed }: TermRowProps) {
  const contribution = term.contribution ?? 0;
  const share = (Math.abs(contribution) / largest) * (signed ? 50 : 100);
  const token = useApp((state) => {
    const [axis = "", index] = term.label.split(" ");
    return tokenAt(state, axis, Number(index));
  });
  const long = countNumbers(term.formula) > SHORT_FORMULA;
  return (
    <li className="term" data-testid="term" data-long={long || undefined} data-own={isCell || undefined}>
      <span className="term-label" title={term.label}>
        {term.label} {token && <TokenText token={token} />}
      </span>
      <span className="term-formula mono">
        {long && <span className="sign">= </span>}
        <FormulaLine formula={term.formula} operands={term.operands} />
        {!long && <span className="sign"> =</span>}
      </span>
      <Contribution value={term.contribution} />
      <span className="term-bar" data-signed={signed} aria-hidden="true">
        <i
          data-negative={contribution < 0 || undefined}
          style={{ width: `${share}%`, [contribution < 0 ? "right" : "left"]: signed ? "50%" : 0 }}
        />
      </span>
    </li>
  );
}

function Contribution({ value }: { value: number | null }) {
  return (
    <span className="term-value mono" title={formatExactly(value)}>
      {formatNumber(value, FORMULA_DIGITS)}
    </span>
  );
}

interface Pattern {
  /** One that computes as most terms do. */
  term: Term;
  whose: "each" | "most" | "only";
}

/** How most terms are computed; null where that is a bare cell, whose name says it. */
function findPattern(terms: Term[]): Pattern | null {
  const alike = new Map<string, Term[]>();
  for (const term of terms) {
    const key = JSON.stringify([term.formula, term.operands.map((operand) => operand.name)], (name, value) =>
      name === "value" ? undefined : value,
    );
    alike.set(key, [...(alike.get(key) ?? []), term]);
  }
  const [most = []] = [...alike.values()].toSorted((a, b) => b.length - a.length);
  const [term] = most;
  if (!term || term.formula.kind === "operand") return null;
  const whose = terms.length === 1 ? "only" : most.length === terms.length ? "each" : "most";
  return { term, whose };
}

/** Null where one of them is not finite. */
function sum(values: (number | null)[]): number | null {
  return values.reduce<number | null>(
    (total, value) => (total === null || value === null ? null : total + value),
    0,
  );
}
