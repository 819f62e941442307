import { useTranslation } from "react-i18next";
import type { Explanation } from "../../protocol/schema.generated";
import { findSite } from "../../state/selectors";
import { useApp } from "../AppContext";
import { formatExactly, formatNumber } from "../formatNumber";
import { LatexFormula } from "../LatexFormula";
import { Terms } from "./Terms";

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
        <LatexFormula latex={explanation.latex || (explanation.equation?.latex ?? "")} block />
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
              difference: formatNumber(check.max_abs_difference, 1),
            })}
          </span>
        )}
      </p>
      {(check?.status === "refused" || check?.status === "undecided") && check.reason && (
        <p className="hint hint-warning">{check.reason}</p>
      )}
      <BatchedDifference explanation={explanation} />
      {explanation.rebuilt_difference != null && (
        <p className="hint">
          {t("explanation.rebuiltDifference", {
            difference: formatNumber(explanation.rebuilt_difference, 2),
          })}
        </p>
      )}
    </>
  );
}

/** Decoding token by token rounds differently from one forward. This states the largest difference that was met. */
function BatchedDifference({ explanation }: { explanation: Explanation }) {
  const { t } = useTranslation();
  const { known, decoded } = useApp(({ trace }) => ({
    known: trace?.batched_difference ?? null,
    decoded: trace !== null && trace.tokens.length > trace.prompt_count,
  }));
  const difference = explanation.batched_difference ?? known;
  if (difference === null) return null;
  return (
    <p className="hint" data-testid="batched-difference">
      {t(decoded ? "explanation.decoded" : "explanation.stepped")}{" "}
      {difference === 0
        ? t("explanation.batchedSame")
        : t("explanation.batchedDifference", { difference: formatNumber(difference, 2) })}
    </p>
  );
}
