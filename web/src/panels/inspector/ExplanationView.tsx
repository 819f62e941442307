import { useTranslation } from "react-i18next";
import type { Explanation, Operand, Term } from "../../protocol/schema.generated";
import { findSite, tokenAt } from "../../state/selectors";
import { useApp, useAppStore } from "../AppContext";
import { Formula } from "../Formula";
import { formatCount, formatExactly, formatNumber } from "../formatNumber";
import { TokenText } from "../TokenText";

const SHOWN_TERMS = 12;

/** How the selected cell came about, with its real numbers, and whether computing it again agrees. */
export function ExplanationView() {
  const { t } = useTranslation();
  const { explanation, error, stale } = useApp((state) => {
    const { value } = state.explanation;
    const { selection } = state;
    const isOfSite = value !== null && value.address === selection?.address;
    return {
      explanation: isOfSite ? value : null,
      error: state.explanation.error,
      stale: value?.index.join() !== selection?.index.join(),
    };
  });
  if (error) return <p className="hint hint-warning">{error}</p>;
  if (!explanation) return <p className="hint">{t("inspector.loading")}</p>;
  return (
    <section className="explanation" data-testid="explanation" data-stale={stale}>
      <h3>{t("explanation.title")}</h3>
      {(explanation.latex || explanation.equation?.latex) && (
        <Formula latex={explanation.latex || (explanation.equation?.latex ?? "")} block />
      )}
      <Comparison explanation={explanation} />
      {explanation.note && <p className="hint">{explanation.note}</p>}
      <Terms explanation={explanation} />
    </section>
  );
}

function Comparison({ explanation }: { explanation: Explanation }) {
  const { t } = useTranslation();
  const check = useApp((state) => findSite(state.anatomy, explanation.address)?.check ?? null);
  return (
    <>
      <dl className="comparison">
        {(["value", "recomputed", "difference"] as const).map((name) => (
          <div key={name}>
            <dt>{t(`explanation.${name}`)}</dt>
            <dd className="mono" title={formatExactly(explanation[name])}>
              {formatNumber(explanation[name], name === "difference" ? 2 : 6)}
            </dd>
          </div>
        ))}
      </dl>
      <p className="badges">
        <span className="badge">{t(`explanation.provenance.${explanation.provenance}`)}</span>
        {check && (
          <span className="badge" data-check={check.status} title={check.reason ?? undefined}>
            {t(`explanation.check.${check.status}`, {
              tolerance: formatNumber(check.max_abs_difference ?? check.tolerance, 1),
            })}
          </span>
        )}
      </p>
      {check?.status === "refused" && check.reason && <p className="hint hint-warning">{check.reason}</p>}
    </>
  );
}

function Terms({ explanation }: { explanation: Explanation }) {
  const { t } = useTranslation();
  const { terms } = explanation;
  if (terms.length === 0) return null;
  const shown = terms.slice(0, SHOWN_TERMS);
  const hidden = terms.slice(SHOWN_TERMS);
  const restCount = explanation.rest_count + hidden.length;
  const restSum = explanation.rest_sum + hidden.reduce((sum, term) => sum + term.contribution, 0);
  const signed = terms.some((term) => term.contribution < 0);
  const largest = Math.max(...terms.map((term) => Math.abs(term.contribution)), 1e-30);
  return (
    <>
      <h3>{t("explanation.terms")}</h3>
      <ol className="terms">
        {shown.map((term, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: labels may repeat
          <TermRow key={at} term={term} largest={largest} signed={signed} />
        ))}
      </ol>
      {restCount > 0 && (
        <p className="hint">
          {t("explanation.rest", { number: formatCount(restCount), sum: formatNumber(restSum) })}
        </p>
      )}
    </>
  );
}

interface TermRowProps {
  term: Term;
  largest: number;
  /** Bars start in the middle where some terms are negative, else at the left. */
  signed: boolean;
}

function TermRow({ term, largest, signed }: TermRowProps) {
  const share = (Math.abs(term.contribution) / largest) * (signed ? 50 : 100);
  const token = useApp((state) => {
    const [axis = "", index] = term.label.split(" ");
    return tokenAt(state, axis, Number(index));
  });
  return (
    <li className="term">
      <span className="term-label mono" title={term.label}>
        {term.label} {token && <TokenText token={token} />}
      </span>
      <span className="term-operands">
        {term.operands.map((operand, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: operands may repeat
          <OperandLink key={at} operand={operand} />
        ))}
      </span>
      <span className="term-value mono" title={formatExactly(term.contribution)}>
        {formatNumber(term.contribution)}
      </span>
      <span className="term-bar" data-signed={signed} aria-hidden="true">
        <i
          data-negative={term.contribution < 0 || undefined}
          style={{ width: `${share}%`, [term.contribution < 0 ? "right" : "left"]: signed ? "50%" : 0 }}
        />
      </span>
    </li>
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
      aria-label={`${where}: ${formatNumber(operand.value)}`}
      onClick={() => store.setState({ selection: { address: operand.name, index: operand.index } })}
    >
      {formatNumber(operand.value)}
    </button>
  );
}
