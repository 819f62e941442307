import { useTranslation } from "react-i18next";
import { useApp, useAppStore } from "./AppContext";
import { Icon } from "./Icon";

/**
 * One line for whoever has never seen this: how to read the picture, and what Run and Generate do. Put away, it stays so; a
 * small window keeps its room for the picture, and has the guide one tap away.
 */
export function HowToRead() {
  const { t } = useTranslation();
  const store = useAppStore();
  const { open, near, buttons } = useApp((state) => ({
    open:
      state.panels.how &&
      state.anatomy !== null &&
      // It tells of the far view of a model that runs: over matrices, sizes or a ride it would be in the way.
      state.shapes.length === 0 &&
      state.ride === null &&
      !state.isNear,
    near: state.anatomy?.blocks.some((block) => block.heads) ? ("nearHeads" as const) : ("near" as const),
    buttons: state.origin === "live" ? (state.chatting ? ("chat" as const) : ("buttons" as const)) : null,
  }));
  if (!open) return null;
  return (
    <p className="how" data-testid="how">
      <span>
        {t("how.picture")} {t(`how.${near}`)} {buttons && t(`how.${buttons}`)}
      </span>
      <button
        type="button"
        className="icon-button"
        aria-label={t("how.close")}
        title={t("how.close")}
        onClick={() => store.setState(({ panels }) => ({ panels: { ...panels, how: false } }))}
      >
        <Icon name="close" />
      </button>
    </p>
  );
}
