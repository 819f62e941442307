import { useTranslation } from "react-i18next";
import { canChat } from "../state/conversation";
import { useApp, useAppStore } from "./AppContext";

/** Whether the prompt box holds a text to be written on or a message to be answered, for a model that can do both. */
export function AskMode() {
  const { t } = useTranslation();
  const store = useAppStore();
  const { offered, chatting } = useApp((state) => ({ offered: canChat(state), chatting: state.chatting }));
  if (!offered) return null;
  return (
    <fieldset className="segments" aria-label={t("prompt.mode")}>
      {(["text", "chat"] as const).map((mode) => (
        <button
          key={mode}
          type="button"
          data-testid={`mode-${mode}`}
          aria-pressed={chatting === (mode === "chat")}
          title={t(`prompt.${mode}Hint`)}
          onClick={() => store.setState({ chatting: mode === "chat" })}
        >
          {t(`prompt.${mode}`)}
        </button>
      ))}
    </fieldset>
  );
}
