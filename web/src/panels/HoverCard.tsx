import { useLayoutEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { isMasked, isPattern } from "../layout/isMasked";
import type { Hover } from "../state/AppState";
import { sayName } from "../state/sayName";
import { axisNames, findSite, findWeight, tokenAt, whyRefused } from "../state/selectors";
import { useApp, useAppStore } from "./AppContext";
import { formatNumber } from "./formatNumber";
import { LatexFormula } from "./LatexFormula";
import { placeBeside } from "./placeBeside";
import { TokenText } from "./TokenText";

/** What is under the pointer. It never waits: a value that is not on the page yet is marked as coming. */
export function HoverCard() {
  const hover = useApp((state) => state.hover);
  return hover && <Card hover={hover} />;
}

function Card({ hover }: { hover: Hover }) {
  const { t } = useTranslation();
  const ref = useRef<HTMLDivElement>(null);
  const { cell, at, value, pool } = hover;
  const masked = useApp((state) => {
    const axes = findSite(state.anatomy, cell.address)?.axes ?? [];
    return (
      value !== null && isPattern(axes) && isMasked(value, cell.index.at(-2) ?? 0, cell.index.at(-1) ?? 0)
    );
  });
  const coming = useApp((state) =>
    state.origin === "exported" && findWeight(state.anatomy, cell.address)
      ? "exported.leftOut"
      : state.shapes.length > 0
        ? "shape.noValue"
        : "hover.coming",
  );
  const words = useApp((state) => sayName(cell.address, axisNames(state, cell.address), cell.index[0]));
  const refused = useApp((state) => whyRefused(state.anatomy, cell.address));
  const latex = useApp((state) => findSite(state.anatomy, cell.address)?.equation?.latex ?? null);

  useLayoutEffect(() => placeBeside(ref.current, at));

  return (
    <div ref={ref} className="hover-card panel" data-testid="hover">
      <p className="hover-address">
        {words && <span>{words} </span>}
        <span className="mono">{cell.address}</span>
      </p>
      {refused === null ? (
        <>
          <p className="hover-value mono" data-coming={value === null}>
            {value === null ? t(coming) : masked ? t("hover.masked") : formatNumber(value)}
          </p>
          {pool && (
            <p className="quiet" data-testid="hover-pool">
              {t("hover.pool", { ...pool, value: formatNumber(pool.value) })}
            </p>
          )}
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
  const axes = useApp((state) => axisNames(state, address));
  return (
    <dl className="indices">
      {axes.map((axis, at) => {
        const token = tokenAt(store.getState(), axis, index[at] ?? -1);
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: an axis may stand twice, its place may not
          <div key={at}>
            <dt>{t(`axes.${axis}` as "axes.head")}</dt>
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
