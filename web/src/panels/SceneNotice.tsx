import { useTranslation } from "react-i18next";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { openOutline } from "./openOutline";

/** Where the picture would be: why there is none, and what to do about it. */
export function SceneNotice() {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const state = useApp(({ sceneState }) => sceneState);
  if (state !== "absent" && state !== "lost") return null;
  return (
    <div className="scene-notice" role="status" data-testid="scene-notice">
      <p>{t(`scene.${state}`)}</p>
      <div className="button-row">
        {state === "lost" && (
          <button type="button" className="button button-primary" onClick={commands.redraw}>
            {t("scene.redraw")}
          </button>
        )}
        <button type="button" className="button" onClick={() => openOutline(store)}>
          {t("scene.outline")}
        </button>
      </div>
    </div>
  );
}
