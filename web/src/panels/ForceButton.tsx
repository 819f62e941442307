import { useTranslation } from "react-i18next";
import type { Token } from "../protocol/schema.generated";
import { isBusy } from "../state/selectors";
import { useApp, useCommands } from "./AppContext";
import { Icon } from "./Icon";
import { plainToken } from "./splitToken";

interface ForceButtonProps {
  token: Token;
  /** The position whose next token this could be. */
  position: number;
  isTabStop: boolean;
}

/** Writes this word in the place of the one that stands there, and goes on: a branch beside the text as it is. */
export function ForceButton({ token, position, isTabStop }: ForceButtonProps) {
  const { t } = useTranslation();
  const commands = useCommands();
  const busy = useApp(isBusy);
  const label = t("sampling.forceHint", { token: plainToken(token) });
  return (
    <button
      type="button"
      className="force"
      data-testid="force"
      tabIndex={isTabStop ? 0 : -1}
      aria-disabled={busy}
      aria-label={label}
      title={busy ? t("prompt.whyNot.busy") : label}
      onClick={() => !busy && commands.writeOn({ position, forced: token.id })}
    >
      <Icon name="branch" />
    </button>
  );
}
