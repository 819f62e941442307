import { useTranslation } from "react-i18next";
import type { Candidate, Distribution } from "../protocol/schema.generated";
import { shownPosition } from "../state/selectors";
import { useApp } from "./AppContext";
import { formatCount, formatNumber, formatPercent } from "./formatNumber";
import { TokenText } from "./TokenText";

const SHOWN_CANDIDATES = 8;

/** The next-token distribution at the shown position: the model's own, and what sampling leaves of it. */
export function DistributionChart() {
  const { t } = useTranslation();
  const { distribution, failed, loading } = useApp((state) => ({
    distribution: state.distribution.value,
    failed: state.distribution.error,
    loading: state.distribution.status === "loading",
  }));
  if (failed) return <p className="hint hint-warning">{failed}</p>;
  if (!distribution) return <p className="hint">{t("sampling.empty")}</p>;
  return (
    <div className="distribution" data-testid="distribution" data-loading={loading}>
      <DistributionHeading distribution={distribution} />
      <Bars distribution={distribution} />
    </div>
  );
}

function DistributionHeading({ distribution }: { distribution: Distribution }) {
  const { t } = useTranslation();
  const position = useApp(shownPosition) ?? distribution.pos;
  const token = useApp((state) => state.trace?.tokens[position] ?? null);
  return (
    <p className="distribution-heading">
      <span>{t("sampling.after")} </span>
      {token && <TokenText token={token} />}
      <span className="quiet"> {t("sampling.position", { position })}</span>
      <span className="quiet mono distribution-entropy" title={t("sampling.entropyHint")}>
        {t("sampling.entropy", { bits: formatNumber(distribution.entropy_bits, 2) })}
      </span>
    </p>
  );
}

function Bars({ distribution }: { distribution: Distribution }) {
  const { t } = useTranslation();
  const shown = chooseCandidates(distribution);
  const largest = Math.max(...shown.flatMap((each) => [each.probability, each.filtered_probability]), 1e-9);
  const hidden = distribution.candidates.length - shown.length;
  const rest =
    distribution.rest_probability +
    distribution.candidates.reduce((sum, each) => sum + (shown.includes(each) ? 0 : each.probability), 0);
  return (
    <table className="bars">
      <thead>
        <tr>
          <th scope="col">{t("sampling.tokenColumn")}</th>
          <td />
          <th scope="col">
            <i className="swatch swatch-model" />
            {t("sampling.modelColumn")}
          </th>
          <th scope="col">
            <i className="swatch swatch-drawn" />
            {t("sampling.drawnColumn")}
          </th>
        </tr>
      </thead>
      <tbody>
        {shown.map((candidate) => (
          <BarRow
            key={candidate.token.id}
            candidate={candidate}
            largest={largest}
            chosen={candidate.token.id === distribution.chosen}
          />
        ))}
      </tbody>
      {distribution.rest_count + hidden > 0 && (
        <tfoot>
          <tr>
            <td colSpan={2}>
              {t("sampling.rest", { number: formatCount(distribution.rest_count + hidden) })}
            </td>
            <td className="mono">{formatPercent(rest)}</td>
            <td />
          </tr>
        </tfoot>
      )}
    </table>
  );
}

/** The best ones, and the chosen one even if it is not among them. */
function chooseCandidates({ candidates, chosen }: Distribution): Candidate[] {
  const best = candidates.slice(0, SHOWN_CANDIDATES);
  const drawn = candidates.find((each) => each.token.id === chosen);
  return drawn && !best.includes(drawn) ? [...best.slice(0, -1), drawn] : best;
}

function BarRow({ candidate, largest, chosen }: { candidate: Candidate; largest: number; chosen: boolean }) {
  const { t } = useTranslation();
  const { token, probability, filtered_probability: drawn, pruned_by: prunedBy } = candidate;
  const filter = prunedBy && t(`sampling.prunedBy.${prunedBy}`);
  return (
    <tr
      data-chosen={chosen || undefined}
      data-pruned={prunedBy ?? undefined}
      title={[
        t("prompt.token", { id: token.id }),
        filter && t("sampling.pruned", { filter }),
        chosen ? t("sampling.chosen") : null,
      ]
        .filter(Boolean)
        .join(", ")}
    >
      <th scope="row">
        <TokenText token={token} />
      </th>
      <td className="bar-cell" aria-hidden="true">
        <i className="bar bar-model" style={{ width: `${(probability / largest) * 100}%` }} />
        <i className="bar bar-drawn" style={{ width: `${(drawn / largest) * 100}%` }} />
      </td>
      <td className="mono">{formatPercent(probability)}</td>
      <td className="mono">{filter ? <s className="pruned">{filter}</s> : formatPercent(drawn)}</td>
    </tr>
  );
}
