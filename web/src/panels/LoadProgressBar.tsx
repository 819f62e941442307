import { useTranslation } from "react-i18next";
import { useApp } from "./AppContext";

/** How far the model being opened has come; the one on screen stays usable meanwhile. */
export function LoadProgressBar() {
  const { t } = useTranslation();
  const opening = useApp((state) => state.opening);
  if (!opening) return null;
  const { progress, modelId } = opening;
  const stage = progress ? t(`model.stage.${progress.stage}`) : t("model.stage.queued");
  const detail = progress?.detail ? ` · ${progress.detail}` : "";
  return (
    <div className="load-progress" data-testid="load-progress" role="status">
      <progress
        aria-label={t("model.loading", { model: modelId })}
        {...(typeof progress?.fraction === "number" ? { value: progress.fraction, max: 1 } : {})}
      />
      <span>
        {stage}
        {detail}
      </span>
    </div>
  );
}
