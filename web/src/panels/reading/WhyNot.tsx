import { useTranslation } from "react-i18next";
import type { Token } from "../../protocol/schema.generated";
import { askAgainst, canAsk } from "../../state/decision";
import { useApp, useAppStore } from "../AppContext";
import { TokenText } from "../TokenText";
import { sayWord } from "./sayWord";

/** A word of the distribution: pressing it asks why it was not this one, and once more goes back. */
export function WhyNot({ token }: { token: Token }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const { asks, isChosen, isAgainst } = useApp((state) => ({
    asks: canAsk(state),
    isChosen: state.reading.value?.token.id === token.id,
    isAgainst: state.versus === token.id,
  }));
  if (!asks) return <TokenText token={token} />;
  const hint =
    isChosen || isAgainst ? t("reading.press.back") : t("reading.press.against", { word: sayWord(token, t) });
  return (
    <button
      type="button"
      className="why-not"
      data-against={token.id}
      aria-pressed={isAgainst}
      title={hint}
      onClick={() => store.setState((state) => askAgainst(state, token.id))}
    >
      <TokenText token={token} />
    </button>
  );
}
