import { useLayoutEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Hover } from "../state/AppState";
import { findSite, findWeight, tokenAt, whyRefused } from "../state/selectors";
import { useApp, useAppStore } from "./AppContext";
import { formatNumber } from "./formatNumber";
import { LatexFormula } from "./LatexFormula";
import { TokenText } from "./TokenText";

const GAP_PX = 16;

/** What is under the pointer. It never waits: a value that is not on the page yet is marked as coming. */
export function HoverCard() {
  const hover = useApp((state) => state.hover);
  return hover && <Card hover={hover} />;
}

function Card({ hover }: { hover: Hover }) {
  const { t } = useTranslation();
  const ref = useRef<HTMLDivElement>(null);
  const { cell, at, value } = hover;
  const coming = useApp((state) =>
    state.origin === "exported" && findWeight(state.anatomy, cell.address)
      ? "exported.leftOut"
      : "hover.coming",
  );
  const refused = useApp((state) => whyRefused(state.anatomy, cell.address));
  const latex = useApp((state) => findSite(state.anatomy, cell.address)?.equation?.latex ?? null);

  useLayoutEffect(() => {
    const card = ref.current;
    if (!card) return;
    const { offsetWidth: width, offsetHeight: height } = card;
    const left = at.x + GAP_PX + width > window.innerWidth ? at.x - GAP_PX - width : at.x + GAP_PX;
    const top = at.y + GAP_PX + height > window.innerHeight ? at.y - GAP_PX - height : at.y + GAP_PX;
    card.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`;
  });

  return (
    <div ref={ref} className="hover-card panel" data-testid="hover">
      <p className="hover-address mono">{cell.address}</p>
      {refused === null ? (
        <>
          <p className="hover-value mono" data-coming={value === null}>
            {value === null ? t(coming) : formatNumber(value)}
          </p>
          <CellIndices address={cell.address} index={cell.index} />
          {latex && <LatexFormula latex={latex} />}
        </>
      ) : (
        <p className="hint hint-warning">{t("hover.refused", { reason: refused })}</p>
      )}
    </div>
  );
}

/** A cell's indices by the names of its axes, with the token where an axis counts tokens. */
export function CellIndices({ address, index }: { address: string; index: readonly number[] }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const axes = useApp(
    (state) => findSite(state.anatomy, address)?.axes ?? findWeight(state.anatomy, address)?.axes ?? [],
  );
  return (
    <dl className="indices">
      {axes.map((axis, at) => {
        const token = tokenAt(store.getState(), axis, index[at] ?? -1);
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: an axis may stand twice, its place may not
          <div key={at}>
            <dt>{t(`axes.${axis}`)}</dt>
            <dd>
              <span className="mono">{index[at]}</span>
              {token && <TokenText token={token} />}
            </dd>
          </div>
        );
      })}
    </dl>
  );
}
