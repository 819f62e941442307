import { useTranslation } from "react-i18next";
import { adaptersOf } from "../state/adaptersOf";
import { useApp, useCommands } from "./AppContext";

/** Which adapter is over the model on screen, or none: the same text is run through the same weights with another. */
export function AdapterSwitch() {
  const { t } = useTranslation();
  const commands = useCommands();
  const { models, anatomy, origin, shapes, opening } = useApp((state) => ({
    models: state.models,
    anatomy: state.anatomy,
    origin: state.origin,
    shapes: state.shapes,
    opening: state.opening,
  }));
  const choices = adaptersOf({ models, anatomy, origin, shapes });
  const current = anatomy?.model_id;
  const why = opening === null ? null : t("prompt.whyNot.opening");
  if (choices.length === 0) return null;
  return (
    <div className="adapter-row">
      <span className="adapter-label" id="adapter-label">
        {t("adapter.title")}
      </span>
      <fieldset className="segments" aria-labelledby="adapter-label">
        {choices.map(({ modelId, name }) => (
          <button
            key={modelId}
            type="button"
            data-testid="adapter-choice"
            data-model-id={modelId}
            aria-pressed={modelId === current}
            // One that is disabled would lose the focus, and could not say why.
            aria-disabled={why !== null}
            title={why ?? (name === null ? t("adapter.offHint") : t("adapter.onHint", { name }))}
            onClick={() => why === null && modelId !== current && commands.switchAdapter(modelId)}
          >
            {name ?? t("adapter.off")}
          </button>
        ))}
      </fieldset>
    </div>
  );
}
