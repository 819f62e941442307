import { useState } from "react";
import { useTranslation } from "react-i18next";
import { shownPosition } from "../../state/selectors";
import { useApp } from "../AppContext";
import { formatNumber } from "../formatNumber";
import { Icon } from "../Icon";
import { HeadText } from "./HeadText";
import { BADGE_SHARE, formatScore, type HeadRow, KINDS } from "./headScores";
import { PatternStrip } from "./PatternStrip";

/** One head more closely: what it is called and why, its pattern, and what it reads for each token of the text. */
export function HeadCard({ row, onOpen }: { row: HeadRow; onOpen(): void }) {
  const { t } = useTranslation();
  const { pattern, status, error, position, traceId } = useApp((state) => ({
    pattern: state.headPattern.value,
    status: state.headPattern.status,
    error: state.headPattern.error,
    position: shownPosition(state),
    traceId: state.trace?.id,
  }));
  const [pointed, setPointed] = useState<number | null>(null);
  const { block, head, values, over, badges } = row;
  const isOwn = pattern?.traceId === traceId && pattern?.block === block && pattern.head === head;
  const own = isOwn ? pattern : null;
  const token = pointed ?? position;
  const name = t("heads.name", { block, head });
  return (
    <section className="head-card" data-testid="head-card" aria-label={name}>
      <header className="head-card-header">
        <h3 aria-live="polite">{name}</h3>
        <ul className="head-badges" aria-label={t("heads.badges")}>
          {badges.map((kind) => (
            <li key={kind} className="head-badge">
              {t(`heads.scores.${kind}`)} <b className="mono">{formatScore(values[kind])}</b>
            </li>
          ))}
          {badges.length === 0 && <li className="quiet">{t("heads.noBadge", { share: BADGE_SHARE })}</li>}
        </ul>
        <button
          type="button"
          className="icon-button"
          data-testid="head-open"
          aria-label={t("heads.open")}
          title={`${t("heads.open")} (Enter)`}
          onClick={onOpen}
        >
          <Icon name="target" />
        </button>
      </header>
      <div className="head-card-body">
        <dl className="head-scores">
          {KINDS.map((kind) => (
            <Score key={kind} name={t(`heads.scores.${kind}`)} share={values[kind]} over={over[kind]} />
          ))}
          <Score
            name={t("heads.scores.entropy")}
            share={values.entropy}
            over={over.entropy}
            told={
              row.entropyBits === null
                ? undefined
                : t("heads.bits", { bits: formatNumber(row.entropyBits, 2) })
            }
          />
          {values.worth !== null && (
            <div className="head-score">
              <dt>{t("heads.scores.worth")}</dt>
              <dd className="mono">{`${values.worth > 0 ? "+" : ""}${formatNumber(values.worth, 2)}`}</dd>
            </div>
          )}
          <div className="head-score">
            <dt>{t("heads.address")}</dt>
            <dd className="mono">{t("heads.place", { block, head })}</dd>
          </div>
        </dl>
        <PatternStrip pattern={own} position={token} name={name} />
      </div>
      {status === "failed" ? (
        <p className="hint hint-warning">{error}</p>
      ) : (
        <HeadText pattern={own} position={token} onPoint={setPointed} />
      )}
    </section>
  );
}

function Score({
  name,
  share,
  over,
  told,
}: {
  name: string;
  share: number | null;
  over: number;
  told?: string | undefined;
}) {
  const { t } = useTranslation();
  return (
    <div className="head-score" title={t("heads.over", { count: over })}>
      <dt>{name}</dt>
      <dd>
        <i style={{ "--share": share ?? 0 } as React.CSSProperties} />
        <span className="mono">{told ?? formatScore(share)}</span>
      </dd>
    </div>
  );
}
