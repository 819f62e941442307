import { useTranslation } from "react-i18next";
import type { Cell } from "../../layout/Cell";
import { findSite, findWeight } from "../../state/selectors";
import { useApp, useAppStore } from "../AppContext";
import { Icon } from "../Icon";

/** Chooses among the heads (or whatever stands before the last two axes). */
export function PlaneSelector({ cell }: { cell: Cell }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const found = useApp(({ anatomy }) => findSite(anatomy, cell.address) ?? findWeight(anatomy, cell.address));
  const leading = found?.axes.slice(0, -2) ?? [];
  if (leading.length === 0) return null;
  const choose = (at: number, value: number) => {
    const index = cell.index.map((each, axis) => (axis === at ? value : each));
    store.setState({ selection: { address: cell.address, index } });
  };
  return (
    <div className="plane-selector">
      {leading.map((axis, at) => {
        const size = found?.shape[at] ?? 1;
        const value = cell.index[at] ?? 0;
        const name = t(`axes.${axis}` as "axes.head");
        return (
          <fieldset key={axis} className="plane-axis" aria-label={name}>
            <span>{name}</span>
            <button
              type="button"
              className="icon-button"
              aria-label={`${t("inspector.previous")}: ${name}`}
              disabled={value === 0}
              onClick={() => choose(at, value - 1)}
            >
              <Icon name="left" />
            </button>
            <select
              className="input mono"
              data-testid="inspector-head"
              aria-label={name}
              value={value}
              onChange={(event) => choose(at, Number(event.target.value))}
            >
              {Array.from({ length: size }, (_, choice) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: the choices are indices
                <option key={choice} value={choice}>
                  {choice}
                </option>
              ))}
            </select>
            <button
              type="button"
              className="icon-button"
              aria-label={`${t("inspector.next")}: ${name}`}
              disabled={value >= size - 1}
              onClick={() => choose(at, value + 1)}
            >
              <Icon name="right" />
            </button>
          </fieldset>
        );
      })}
    </div>
  );
}
