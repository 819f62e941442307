import { useLayoutEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { parsePartName } from "../../protocol/parsePart";
import type { HoveredPart } from "../../state/AppState";
import { canAsk } from "../../state/decision";
import { useApp } from "../AppContext";
import { placeBeside } from "../placeBeside";
import { sayCard } from "./sayCard";
import { useTelling } from "./useTelling";

/** The part of the far view under the pointer: what it reads, what it adds, and what is said without it. */
export function PartCard() {
  const hovered = useApp((state) => (state.shapes.length > 0 ? null : state.hoveredPart));
  return hovered && <Card hovered={hovered} />;
}

function Card({ hovered: { part, at } }: { hovered: HoveredPart }) {
  const ref = useRef<HTMLDivElement>(null);
  const lines = usePartLines(part);
  const [title, ...rest] = lines;
  useLayoutEffect(() => placeBeside(ref.current, at));
  return (
    <div ref={ref} className="hover-card panel part-card" data-testid="part-card">
      <p className="part-title">{title}</p>
      {rest.map((line) => (
        <p key={line}>{line}</p>
      ))}
    </div>
  );
}

/** What is known of a part, one line each, and what a click on it does. */
function usePartLines(part: string): string[] {
  const { t } = useTranslation();
  const telling = useTelling();
  const { reading, effects, asks, isOff, isTested } = useApp((state) => ({
    reading: state.reading.value,
    effects: state.effects.value,
    isTested: state.effects.status === "ready",
    asks: canAsk(state),
    isOff: state.off.includes(part),
  }));
  if (!reading || !parsePartName(part)) return [part];
  const lines = sayCard(part, reading, effects, isTested, telling);
  return asks ? [...lines, t(isOff ? "reading.card.on" : "reading.card.off")] : lines;
}
