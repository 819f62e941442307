import { useTranslation } from "react-i18next";
import { findWeight } from "../../state/selectors";
import { useApp } from "../AppContext";

/** What can be said of a weight: it was learned, and nothing on this page computed it. */
export function WeightNote({ name }: { name: string }) {
  const { t } = useTranslation();
  const weight = useApp((state) => findWeight(state.anatomy, name));
  if (!weight) return null;
  return (
    <p className="hint">
      {t("inspector.parameter")} {t("inspector.dtype", { dtype: weight.dtype })}
      {weight.stored && `, ${t("inspector.stored", { stored: weight.stored })}`}
      {weight.tied_to && `, ${t("inspector.tied", { name: weight.tied_to })}`}.
    </p>
  );
}
