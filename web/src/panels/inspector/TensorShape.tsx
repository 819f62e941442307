import { useTranslation } from "react-i18next";
import { findSite, findWeight } from "../../state/selectors";
import { useApp } from "../AppContext";
import { formatCount } from "../formatNumber";

/** What is known of a tensor of a model without weights: its axes, their sizes, and how many numbers that makes. */
export function TensorShape({ address }: { address: string }) {
  const { t } = useTranslation();
  const weight = useApp((state) => findWeight(state.anatomy, address));
  const site = useApp((state) => findSite(state.anatomy, address));
  const found = weight ?? site;
  if (!found) return null;
  const numbers = found.shape.reduce<number>((product, size) => product * (size ?? 1), 1);
  return (
    <div className="inspector-body" data-testid="tensor-shape">
      <dl className="indices">
        {found.axes.map((axis, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: an axis may stand twice, its place may not
          <div key={at}>
            <dt>{t(`axes.${axis}`)}</dt>
            <dd className="mono">
              {found.shape[at] == null ? t("shape.perToken") : formatCount(found.shape[at])}
            </dd>
          </div>
        ))}
      </dl>
      <p className="hint">
        {weight
          ? t("shape.weight", { number: formatCount(numbers) })
          : t("shape.site", { number: formatCount(numbers) })}
        {weight?.tied_to && ` ${t("inspector.tied", { name: weight.tied_to })}.`}
      </p>
    </div>
  );
}
