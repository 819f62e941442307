import { memo, useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Step, Token } from "../protocol/schema.generated";
import { shownPosition } from "../state/selectors";
import { useApp, useAppStore } from "./AppContext";
import { formatPercent } from "./formatNumber";
import { TokenText } from "./TokenText";
import { useRoving } from "./useRoving";

/** Every token of the recording, prompt and written; choosing one shows what the model expected after it. */
export function Timeline() {
  const { t } = useTranslation();
  const listRef = useRef<HTMLOListElement>(null);
  const { tokens, promptCount, positions, steps, shown, follows } = useApp((state) => ({
    tokens: state.trace?.tokens ?? null,
    promptCount: state.trace?.prompt_count ?? 0,
    positions: state.trace?.positions ?? 0,
    steps: state.steps,
    shown: shownPosition(state),
    follows: state.position === null,
  }));
  const count = tokens?.length ?? 0;
  const { stop, onKeyDown, onFocus } = useRoving(listRef, count, shown ?? 0);

  useEffect(() => {
    const list = listRef.current;
    if (!list || count === 0) return;
    if (follows) list.scrollLeft = list.scrollWidth;
    else if (shown !== null) list.children[shown]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [count, follows, shown]);

  if (!tokens) return null;
  return (
    <section className="timeline panel" aria-label={t("timeline.title")}>
      <ol
        ref={listRef}
        className="timeline-list"
        data-testid="timeline"
        title={t("timeline.keys")}
        onKeyDown={onKeyDown}
        onFocus={onFocus}
      >
        {tokens.map((token, position) => (
          <TimelineToken
            // biome-ignore lint/suspicious/noArrayIndexKey: a token is its position
            key={position}
            token={token}
            position={position}
            step={steps[position] ?? null}
            generated={position >= promptCount}
            recorded={position < positions}
            current={position === shown}
            tabStop={position === stop}
          />
        ))}
      </ol>
    </section>
  );
}

interface TimelineTokenProps {
  token: Token;
  position: number;
  step: Step | null;
  generated: boolean;
  recorded: boolean;
  current: boolean;
  tabStop: boolean;
}

/** Memoised: while tokens are written, only the newest ones change. */
const TimelineToken = memo(function TimelineToken(props: TimelineTokenProps) {
  const { token, position, step, generated, recorded, current, tabStop } = props;
  const { t } = useTranslation();
  const store = useAppStore();
  const select = () =>
    store.setState(({ position: selected }) => ({ position: selected === position ? null : position }));
  const title = [
    t("timeline.position", { position }),
    t("prompt.token", { id: token.id }),
    t(generated ? "timeline.generated" : "timeline.prompt"),
    step ? t("timeline.probability", { probability: formatPercent(step.probability) }) : null,
    recorded ? null : t("timeline.pending"),
  ].filter((part) => part !== null);
  return (
    <li>
      <button
        type="button"
        className="timeline-token"
        data-generated={generated || undefined}
        data-recorded={recorded}
        aria-pressed={current}
        tabIndex={tabStop ? 0 : -1}
        title={title.join(" · ")}
        style={{ "--probability": step?.probability ?? 0 } as React.CSSProperties}
        onClick={select}
      >
        <TokenText token={token} />
      </button>
    </li>
  );
});
