import type { TFunction } from "i18next";
import { memo, type PointerEvent, useCallback, useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Intervention, Step, Token } from "../protocol/schema.generated";
import { answerStart, shownPosition } from "../state/selectors";
import { useApp, useAppStore } from "./AppContext";
import { formatPercent } from "./formatNumber";
import { KeptRecordings } from "./KeptRecordings";
import { TokenText } from "./TokenText";
import { useRoving } from "./useRoving";
import { WritingButtons } from "./WritingButtons";

const NO_CHANGES: readonly Intervention[] = [];

/** Every token of the recording, prompt and written; choosing one shows what the model expected after it. */
export function Timeline() {
  const { t } = useTranslation();
  const store = useAppStore();
  const listRef = useRef<HTMLOListElement>(null);
  const { tokens, promptCount, positions, steps, shown, follows } = useApp((state) => ({
    tokens: state.trace?.tokens ?? null,
    promptCount: answerStart(state),
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
    const show = () => {
      if (follows) list.scrollLeft = list.scrollWidth;
      else if (shown !== null) list.children[shown]?.scrollIntoView({ block: "nearest", inline: "nearest" });
    };
    // Letters that come late make the list longer, and what stands beside it may leave it less room.
    if (document.fonts.status === "loading") void document.fonts.ready.then(show);
    const observer = new ResizeObserver(show);
    observer.observe(list);
    return () => observer.disconnect();
  }, [count, follows, shown]);

  /** With the button held the pointer draws the picture along, token by token; a finger scrolls. */
  const scrub = (event: PointerEvent) => {
    if (event.buttons !== 1 || event.pointerType === "touch") return;
    const button = (event.target as Element).closest<HTMLElement>("[data-position]");
    const position = button ? Number(button.dataset.position) : null;
    if (position !== null && position !== store.getState().position) store.setState({ position });
  };

  const choose = useCallback(
    (position: number) =>
      store.setState(({ position: chosen }) => ({ position: chosen === position ? null : position })),
    [store],
  );

  if (!tokens) return null;
  return (
    <section className="timeline panel" aria-label={t("timeline.title")}>
      <WritingButtons />
      <ChangedBadge />
      <ol
        ref={listRef}
        className="timeline-list"
        data-testid="timeline"
        title={t("timeline.keys")}
        onKeyDown={onKeyDown}
        onFocus={onFocus}
        onPointerMove={scrub}
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
            onChoose={choose}
            t={t}
          />
        ))}
      </ol>
      <KeptRecordings />
    </section>
  );
}

/** A mark on every picture of a run that somebody changed. */
function ChangedBadge() {
  const { t } = useTranslation();
  const changes = useApp((state) => state.trace?.interventions ?? NO_CHANGES);
  if (changes.length === 0) return null;
  const told = changes.map(({ address, operation }) =>
    t("timeline.change", { address, operation: t(`timeline.operations.${operation}`) }),
  );
  return (
    <span className="badge changed-badge" data-testid="changed" title={told.join("; ")}>
      {t("timeline.changed")}
      <span className="visually-hidden">: {told.join("; ")}</span>
    </span>
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
  onChoose: (position: number) => void;
  t: TFunction;
}

/** Memoised: while tokens are written, only the newest ones change. There are many: what they share is given to them. */
const TimelineToken = memo(function TimelineToken(props: TimelineTokenProps) {
  const { token, position, step, generated, recorded, current, tabStop, onChoose, t } = props;
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
        data-position={position}
        data-recorded={recorded}
        aria-pressed={current}
        tabIndex={tabStop ? 0 : -1}
        title={title.join(" · ")}
        style={{ "--probability": step?.probability ?? 0 } as React.CSSProperties}
        onClick={() => onChoose(position)}
      >
        <TokenText token={token} />
      </button>
    </li>
  );
});
