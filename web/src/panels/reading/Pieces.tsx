import { useTranslation } from "react-i18next";
import { askAgainst, canAsk, toggleOff } from "../../state/decision";
import { useApp, useAppStore } from "../AppContext";
import type { Piece, PressPiece } from "./phrase";

/** A sentence whose parts can be pressed. */
export function Pieces({ pieces }: { pieces: readonly Piece[] }) {
  return pieces.map((piece, at) =>
    typeof piece === "string" ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of a sentence have no other identity
      <Plain key={at} text={at > 0 ? piece.slice(markOf(piece).length) : piece} />
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of a sentence have no other identity
      <span key={at} className="reading-kept">
        <Press piece={piece} />
        {markOf(pieces[at + 1])}
      </span>
    ),
  );
}

/** The comma or full stop that a piece begins with: it stays on the line of what is pressed before it. */
function markOf(piece: Piece | undefined): string {
  return typeof piece === "string" ? (/^[.,]+/.exec(piece)?.[0] ?? "") : "";
}

/** A number and its sign of per cent stay on one line. */
function Plain({ text }: { text: string }) {
  return text.split(/([\d.]+ %)/).map((part, at) =>
    at % 2 === 0 ? (
      part
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: a part is its place in the text
      <span key={at} className="reading-kept">
        {part}
      </span>
    ),
  );
}

function Press({ piece: { text, part, against, strong } }: { piece: PressPiece }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const { asks, isOff } = useApp((state) => ({
    asks: canAsk(state),
    isOff: part !== undefined && state.off.includes(part),
  }));
  if (strong) return <strong className="reading-word">{text}</strong>;
  if (!asks || (part === undefined && against === undefined))
    return <span className="reading-name">{text}</span>;
  const press = () =>
    store.setState((state) =>
      part !== undefined ? toggleOff(state, part) : askAgainst(state, against ?? 0),
    );
  const hides = part?.startsWith("token.");
  const hint =
    part === undefined
      ? t("reading.press.against", { word: text })
      : t(`reading.press.${isOff ? "on" : hides ? "hide" : "off"}`, { part: text });
  return (
    <button
      type="button"
      className="reading-press"
      data-part={part}
      data-against={against}
      aria-pressed={part === undefined ? undefined : isOff}
      title={hint}
      onClick={press}
    >
      {text}
    </button>
  );
}
