import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Distribution } from "../protocol/schema.generated";
import type { ShownDistribution } from "../state/AppState";
import { writtenText } from "../state/recordedText";
import { shownPosition } from "../state/selectors";
import { useApp } from "./AppContext";
import { ForceButton } from "./ForceButton";
import { formatCount, formatNumber, formatPercent } from "./formatNumber";
import { WhyNot } from "./reading/WhyNot";
import { StageStrip } from "./StageStrip";
import { type FilterName, type StageRow, stageRows } from "./stageRows";
import { TokenText } from "./TokenText";
import { useMediaQuery } from "./useMediaQuery";
import { useRoving } from "./useRoving";

const SHOWN_CANDIDATES = 8;
/** A window of a laptop's height shows the whole panel, with the tokens that are not listed summed up in its last row. */
const LOW = { query: "(max-height: 940px)", candidates: 5, belowText: 4 };

/** The next-token distribution at the shown position: the model's own, what each filter makes of it, and what is left. */
export function DistributionChart() {
  const { t } = useTranslation();
  const { distribution, failed, loading } = useApp((state) => ({
    distribution: state.distribution.value,
    failed: state.distribution.error,
    loading: state.distribution.status === "loading",
  }));
  const [wanted, setWanted] = useState<FilterName | null>(null);
  if (failed) return <p className="hint hint-warning">{failed}</p>;
  if (!distribution) return <p className="hint">{t("sampling.empty")}</p>;
  const shown = distribution.stages.some((stage) => stage.filter === wanted) ? wanted : null;
  return (
    <div className="distribution" data-testid="distribution" data-loading={loading}>
      <DistributionHeading distribution={distribution} />
      {distribution.stages.length > 0 && (
        <StageStrip distribution={distribution} shown={shown} onShow={setWanted} />
      )}
      <Bars distribution={distribution} filter={shown} />
      {distribution.forced && <p className="hint">{t("sampling.forced")}</p>}
    </div>
  );
}

/** The token and position of the numbers below it; where others are on their way it says so. */
function DistributionHeading({ distribution }: { distribution: ShownDistribution }) {
  const { t } = useTranslation();
  const wanted = useApp(shownPosition);
  const isNext = wanted !== null && wanted !== distribution.pos;
  return (
    <p className="distribution-heading">
      <span>{t("sampling.after")} </span>
      <TokenText token={distribution.after} />
      <span className="quiet"> {t("sampling.position", { position: distribution.pos })}</span>
      <span className="quiet mono distribution-entropy" title={t("sampling.entropyHint")}>
        {t("sampling.entropy", { bits: formatNumber(distribution.entropy_bits, 2) })}
      </span>
      {isNext && <span className="distribution-next">{t("sampling.reading", { position: wanted })}</span>}
    </p>
  );
}

function Bars({ distribution, filter }: { distribution: Distribution; filter: FilterName | null }) {
  const { t } = useTranslation();
  const isLow = useMediaQuery(LOW.query);
  const belowText = useApp((state) => writtenText(state) !== "");
  const shownCandidates = !isLow ? SHOWN_CANDIDATES : belowText ? LOW.belowText : LOW.candidates;
  const { rows, rest } = stageRows(distribution, filter, shownCandidates);
  const body = useRef<HTMLTableSectionElement>(null);
  const roving = useRoving(body, rows.length, 0, ".force");
  const largest = Math.max(...rows.flatMap((row) => [row.before, row.after]), 1e-9);
  return (
    <table className="bars">
      <thead>
        <tr>
          <th scope="col">{t("sampling.tokenColumn")}</th>
          <td />
          <th scope="col">
            <i className="swatch swatch-model" />
            {t(filter ? "sampling.beforeColumn" : "sampling.modelColumn")}
          </th>
          <th scope="col">
            <i className="swatch swatch-drawn" />
            {t(filter ? "sampling.afterColumn" : "sampling.drawnColumn")}
          </th>
        </tr>
      </thead>
      <tbody ref={body} onKeyDown={roving.onKeyDown} onFocus={roving.onFocus}>
        {rows.map((row, at) => (
          <BarRow
            key={row.candidate.token.id}
            row={row}
            largest={largest}
            position={distribution.pos}
            isTabStop={at === roving.stop}
          />
        ))}
      </tbody>
      {rest.count > 0 && (
        <tfoot>
          <tr>
            <td colSpan={2}>{t("sampling.rest", { number: formatCount(rest.count) })}</td>
            <td className="mono">{formatPercent(rest.before)}</td>
            <td className="mono">{formatPercent(rest.after)}</td>
          </tr>
        </tfoot>
      )}
    </table>
  );
}

interface BarRowProps {
  row: StageRow;
  largest: number;
  /** The position whose next token this could be. */
  position: number;
  isTabStop: boolean;
}

function BarRow({ row, largest, position, isTabStop }: BarRowProps) {
  const { t } = useTranslation();
  const live = useApp((state) => state.origin === "live");
  const { candidate, before, after, cutBy, chosen } = row;
  const filter = cutBy && t(`sampling.filters.${cutBy}`);
  return (
    <tr
      data-chosen={chosen || undefined}
      data-pruned={cutBy ?? undefined}
      title={[
        t("prompt.token", { id: candidate.token.id }),
        filter && t("sampling.pruned", { filter }),
        chosen ? t("sampling.chosen") : null,
      ]
        .filter(Boolean)
        .join(", ")}
    >
      <th scope="row">
        <WhyNot token={candidate.token} />
      </th>
      <td className="bar-cell" aria-hidden="true">
        <i className="bar bar-model" style={{ width: `${(before / largest) * 100}%` }} />
        <i className="bar bar-drawn" style={{ width: `${(after / largest) * 100}%` }} />
      </td>
      <td className="mono">{formatPercent(before)}</td>
      <td className="mono">{filter ? <s className="pruned">{filter}</s> : formatPercent(after)}</td>
      {live && (
        <td className="force-cell">
          <ForceButton token={candidate.token} position={position} isTabStop={isTabStop} />
        </td>
      )}
    </tr>
  );
}
