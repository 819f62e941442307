import { useLayoutEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { HoveredPart } from "../state/AppState";
import { findShapePart } from "../state/findShapePart";
import { useApp } from "./AppContext";
import { formatCount, formatPercent } from "./formatNumber";
import { placeBeside } from "./placeBeside";

/** More weights than this would make the card a list. */
const WEIGHTS_SHOWN = 6;

/** What is under the pointer where a model is drawn from its config: how many parameters, and the shapes of its weights. */
export function ShapeHoverCard() {
  const hovered = useApp((state) => (state.shapes.length > 0 && !state.hover ? state.hoveredPart : null));
  return hovered && <Card hovered={hovered} />;
}

function Card({ hovered }: { hovered: HoveredPart }) {
  const { t } = useTranslation();
  const ref = useRef<HTMLDivElement>(null);
  const shapes = useApp((state) => state.shapes);
  useLayoutEffect(() => placeBeside(ref.current, hovered.at));
  const part = findShapePart(shapes, hovered.part);
  if (!part) return null;
  const { shape, template, sizes, weights, block, head } = part;
  const parameters = sizes.reduce((sum, size) => sum + size.parameters, 0);
  const { heads } = template.block;
  return (
    <div ref={ref} className="hover-card panel" data-testid="shape-hover">
      <p className="hover-address">
        {shapes.length > 1 && `${shape.anatomy.title} · `}
        {t("outline.block", { index: block })}
        {head !== null && ` · ${t("shape.head", { head, heads })}`}
      </p>
      <dl className="indices">
        {sizes.map((size) => (
          <div key={size.kind}>
            <dt>{t(`shape.name.${size.kind}`)}</dt>
            <dd className="mono">{formatCount(size.parameters)}</dd>
          </div>
        ))}
      </dl>
      <p className="hint">
        {t("shape.share", { share: formatPercent(parameters / shape.anatomy.parameters) })}
      </p>
      <ul className="shape-weights mono">
        {weights.slice(0, WEIGHTS_SHOWN).map((weight) => (
          <li key={weight.name}>
            {weight.name.split(".").slice(-2).join(".")} {weight.shape.map(formatCount).join(" × ")}
          </li>
        ))}
      </ul>
    </div>
  );
}
