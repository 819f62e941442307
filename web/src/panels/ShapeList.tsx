import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { MOST_SHAPES } from "../state/urlState";
import { useApp, useCommands } from "./AppContext";
import { formatLarge } from "./formatNumber";

/** Models that can be drawn from their configs, alone or beside what is on screen. */
export function ShapeList({ onDone }: { onDone: () => void }) {
  const { t } = useTranslation();
  const commands = useCommands();
  const offers = useApp((state) => state.shapeOffers);
  const shown = useApp((state) => state.shapes);
  useEffect(() => commands.listShapes(), [commands]);
  if (!offers || offers.length === 0) return null;
  const ids = shown.map(({ shape_id }) => shape_id);
  const open = (shapeIds: readonly string[]) => {
    commands.openShapes(shapeIds);
    onDone();
  };
  const isFull = ids.length >= MOST_SHAPES;
  return (
    <>
      <h2 className="popover-title">{t("shape.pick")}</h2>
      <ul className="model-list shape-list">
        {offers.map(({ shape_id: id, title, description, parameters }) => (
          <li key={id}>
            <button
              type="button"
              className="model-option"
              data-testid="shape-option"
              data-shape-id={id}
              aria-current={ids.includes(id)}
              onClick={() => open([id])}
            >
              <span className="model-option-title">{title}</span>
              <span className="model-option-facts mono">{formatLarge(parameters)}</span>
              <span className="model-option-text">{description}</span>
            </button>
            {ids.length > 0 && !ids.includes(id) && (
              <button
                type="button"
                className="button"
                disabled={isFull}
                title={isFull ? t("shape.pickMost") : t("shape.compareHint", { model: title })}
                onClick={() => open([...ids, id])}
              >
                {t("shape.compare")}
              </button>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}
