import { useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Token } from "../../protocol/schema.generated";
import type { HeadPattern, Theme } from "../../state/AppState";
import { useApp } from "../AppContext";
import { formatPercent } from "../formatNumber";
import { TokenText } from "../TokenText";
import { useRoving } from "../useRoving";
import { cssOf, shareInk, textOn } from "./headInk";
import { largestShares, type ReadToken, readsOf } from "./readPattern";

interface HeadTextProps {
  pattern: HeadPattern | null;
  position: number | null;
  onPoint(position: number | null): void;
}

/**
 * The text as one head reads it at a token: what it reads is shaded, and stands before it; who reads it is underlined,
 * and stands after it.
 */
export function HeadText({ pattern, position, onPoint }: HeadTextProps) {
  const { t } = useTranslation();
  const listRef = useRef<HTMLFieldSetElement>(null);
  const { tokens, theme, positions } = useApp((state) => ({
    tokens: state.trace?.tokens ?? NO_TOKENS,
    theme: state.theme,
    positions: state.trace?.positions ?? 0,
  }));
  const start = pattern?.start ?? Math.max(0, positions - 256);
  const stop = pattern?.stop ?? positions;
  const found = pattern && position !== null ? readsOf(pattern, position) : null;
  const shown = tokens.slice(start, stop);
  const roving = useRoving(listRef, shown.length, Math.max(0, (position ?? start) - start));
  return (
    <>
      <fieldset
        ref={listRef}
        className="head-text"
        data-testid="head-text"
        aria-label={t("heads.text")}
        onPointerLeave={() => onPoint(null)}
        onKeyDown={roving.onKeyDown}
        onFocus={roving.onFocus}
      >
        {start > 0 && <span className="quiet">{t("heads.before", { count: start })} </span>}
        {shown.map((token, at) => {
          const place = start + at;
          const isBefore = position !== null && place < position;
          const share = found ? ((isBefore ? found.reads : found.readBy)[at] ?? 0) : 0;
          return (
            <button
              key={place}
              type="button"
              className="head-token"
              data-shown={place === position || undefined}
              tabIndex={at === roving.stop ? 0 : -1}
              style={place === position ? undefined : styleOf(share, isBefore, theme)}
              onPointerEnter={() => onPoint(place)}
              onFocus={() => onPoint(place)}
              onBlur={() => onPoint(null)}
            >
              <TokenText token={token} />
            </button>
          );
        })}
      </fieldset>
      <dl className="head-reads" aria-live="polite">
        <Shares
          label={t("heads.reads")}
          shares={found && largestShares(found.reads, start)}
          tokens={tokens}
        />
        <Shares
          label={t("heads.readBy")}
          shares={found && largestShares(found.readBy, start, { without: position ?? -1 })}
          tokens={tokens}
        />
      </dl>
    </>
  );
}

const NO_TOKENS: Token[] = [];
/** Shares below this are not worth a colour. */
const LEAST_SHARE = 0.02;

function styleOf(share: number, isBefore: boolean, theme: Theme): React.CSSProperties | undefined {
  if (share < LEAST_SHARE) return undefined;
  const colour = shareInk(share, theme);
  if (!colour) return undefined;
  if (isBefore) return { background: cssOf(colour), color: textOn(colour) };
  return {
    boxShadow: `inset 0 ${-1 - Math.round(3 * share)}px ${cssOf(shareInk(0.4 + 0.6 * share, theme) ?? colour)}`,
  };
}

function Shares({ label, shares, tokens }: { label: string; shares: ReadToken[] | null; tokens: Token[] }) {
  const { t } = useTranslation();
  return (
    <div>
      <dt className="quiet">{label}</dt>
      <dd>
        {shares?.map(({ position, weight }) => {
          const token = tokens[position];
          return (
            token && (
              <span key={position} className="head-read">
                <TokenText token={token} /> <span className="mono quiet">{formatPercent(weight)}</span>
              </span>
            )
          );
        })}
        {shares?.length === 0 && <span className="quiet">{t("heads.nobody")}</span>}
      </dd>
    </div>
  );
}
