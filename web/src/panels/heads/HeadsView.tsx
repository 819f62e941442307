import { useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { EMPTY, type HeadPlace } from "../../state/AppState";
import { shownPosition } from "../../state/selectors";
import { effectsOf } from "../../state/whatMattered";
import { useApp, useAppStore, useCommands } from "../AppContext";
import { cssGradient } from "../colourScale";
import { formatNumber } from "../formatNumber";
import { HeadCard } from "./HeadCard";
import { HeadsGrid } from "./HeadsGrid";
import { HeadsPoints } from "./HeadsPoints";
import { HeadsTable } from "./HeadsTable";
import type { HeadViewProps } from "./HeadViewProps";
import {
  BADGE_SHARE,
  groupRefused,
  KINDS,
  limitOf,
  rankHeads,
  SCORES,
  type ScoreName,
  stepHead,
  tabulateHeads,
} from "./headScores";
import { readsOf } from "./readPattern";

const VIEWS = ["grid", "points", "table"] as const;
type View = (typeof VIEWS)[number];

/** All heads of the model: by block and head, by two scores, or as a table; one of them more closely below. */
export default function HeadsView() {
  const { t } = useTranslation();
  const store = useAppStore();
  const { heads, effects, theme, hasText } = useApp((state) => ({
    heads: state.heads,
    effects: state.reading.value && effectsOf(state.reading.value, state.effects.value),
    theme: state.theme,
    hasText: (state.trace?.positions ?? 0) > 0,
  }));
  const [view, setView] = useState<View>("grid");
  const [score, setScore] = useState<ScoreName>("induction");
  const [chosen, setChosen] = useState<HeadPlace | null>(null);
  const [hovered, setHovered] = useState<HeadPlace | null>(null);
  const table = useMemo(() => heads.value && tabulateHeads(heads.value, effects), [heads.value, effects]);
  const openInScene = useOpenInScene();

  useEffect(() => {
    store.setState({ headsWanted: true });
    return () => store.setState({ headsWanted: false, shownHead: null, headPattern: EMPTY });
  }, [store]);

  const strongest = table && (rankHeads(table, score)[0] ?? table.rows[0] ?? null);
  const kept = table && chosen && table.at(chosen.block, chosen.head);
  const over = table && hovered && table.at(hovered.block, hovered.head);
  const shown = over || kept || strongest;
  const [shownBlock, shownHead] = [shown?.block, shown?.head];
  useEffect(() => {
    const isThere = shownBlock !== undefined && shownHead !== undefined;
    store.setState({ shownHead: isThere ? { block: shownBlock, head: shownHead } : null });
  }, [store, shownBlock, shownHead]);

  if (!hasText) return <p className="hint heads-hint">{t("heads.noText")}</p>;
  if (heads.status === "failed" && !table)
    return <p className="hint hint-warning heads-hint">{heads.error}</p>;
  if (heads.status === "ready" && !table) return <p className="hint heads-hint">{t("heads.exported")}</p>;
  if (!table) return <p className="hint heads-hint">{t("heads.loading")}</p>;
  if (table.rows.length === 0 && heads.status === "ready") return <Refused table={table} />;

  const choose = (head: HeadPlace) => {
    setChosen(head);
    openInScene(head);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !shown) return;
    if (event.key === "Enter" || event.key === " ") choose(shown);
    else {
      const next = stepHead(table, shown, event.key);
      if (!next) return;
      setHovered(null);
      setChosen(next);
    }
    event.preventDefault();
  };
  const limit = limitOf(table, score);
  const props: HeadViewProps = {
    table,
    score,
    limit,
    shown,
    chosen: kept,
    onHover: setHovered,
    onChoose: choose,
  };
  const meaning = score === "worth" && typeof effects?.versus === "number" ? "worthOver" : score;
  const isTold = table.rows.some((row) => row.values[score] !== null);
  return (
    <div className="heads" data-loading={heads.status === "loading"}>
      <div className="heads-top">
        <fieldset className="heads-views" aria-label={t("heads.view")}>
          {VIEWS.map((name) => (
            <button
              key={name}
              type="button"
              className="stage"
              aria-pressed={view === name}
              onClick={() => setView(name)}
            >
              {t(`heads.views.${name}`)}
            </button>
          ))}
        </fieldset>
        <div className="heads-legend" aria-hidden="true">
          <span className="mono">{score === "worth" ? `−${formatNumber(limit, 2)}` : "0"}</span>
          <i style={{ background: cssGradient(score === "worth" ? "diverging" : "probability", theme) }} />
          <span className="mono">{score === "worth" ? `+${formatNumber(limit, 2)}` : "1"}</span>
        </div>
      </div>
      <Scores table={table} score={score} onScore={setScore} />
      {heads.status === "failed" && <p className="hint hint-warning">{heads.error}</p>}
      <p className="hint heads-meaning">
        {isTold ? t(`heads.meaning.${meaning}`) : t(score === "worth" ? "heads.untested" : "heads.noRepeat")}
      </p>
      {view === "table" ? (
        <HeadsTable {...props} />
      ) : (
        <div
          className="heads-picture"
          data-testid="heads-picture"
          role="application"
          aria-label={t("heads.picture", { view: t(`heads.views.${view}`) })}
          aria-description={t("heads.keys")}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys go from head to head
          tabIndex={0}
          onKeyDown={onKeyDown}
        >
          {view === "grid" ? <HeadsGrid {...props} /> : <HeadsPoints {...props} />}
        </div>
      )}
      {table.refused.size > 0 && <Refused table={table} />}
      {shown && <HeadCard row={shown} onOpen={() => choose(shown)} />}
    </div>
  );
}

/** Which score colours the heads; how many of each kind there are stands beside it. */
function Scores({
  table,
  score,
  onScore,
}: Pick<HeadViewProps, "table" | "score"> & { onScore(score: ScoreName): void }) {
  const { t } = useTranslation();
  const counts = Object.fromEntries(
    KINDS.map((kind) => [kind, table.rows.filter((row) => row.badges.includes(kind)).length]),
  );
  return (
    <fieldset className="heads-scores" aria-label={t("heads.colour")}>
      {SCORES.map((name) => {
        const count = counts[name];
        return (
          <button
            key={name}
            type="button"
            className="stage"
            data-testid={`heads-score-${name}`}
            aria-pressed={score === name}
            title={count === undefined ? undefined : t("heads.count", { count, share: BADGE_SHARE })}
            onClick={() => onScore(name)}
          >
            {t(`heads.scores.${name}`)}
            {count !== undefined && <span className="mono">{count}</span>}
          </button>
        );
      })}
    </fieldset>
  );
}

function Refused({ table }: Pick<HeadViewProps, "table">) {
  const { t } = useTranslation();
  return groupRefused(table.refused).map(({ blocks, reason }) => (
    <p key={reason} className="hint heads-hint">
      {t("heads.refused", { blocks, reason })}
    </p>
  ));
}

/** Brings a head's pattern into view in the scene and opens it in the inspector, at the shown position. */
function useOpenInScene(): (head: HeadPlace) => void {
  const store = useAppStore();
  const commands = useCommands();
  return ({ block, head }) => {
    const state = store.getState();
    const position = shownPosition(state) ?? 0;
    const address = `attn_probs.${block}`;
    const pattern = state.headPattern.value;
    const isOwn = pattern?.traceId === state.trace?.id && pattern?.block === block && pattern.head === head;
    const key = (isOwn && readsOf(pattern, position)?.most) || 0;
    store.setState({ selection: { address, index: [head, position, key] } });
    commands.focus([address]);
  };
}
