import { useRef } from "react";
import { useTranslation } from "react-i18next";
import type { PromptToken } from "../protocol/PromptToken";
import { useApp } from "./AppContext";
import { TokenText } from "./TokenText";
import { useScrollStop } from "./useScrollStop";

/** More chips than this slow typing down; the count above stays exact. */
const SHOWN_TOKENS = 400;

/** The prompt as the model will see it, as it is typed. */
export function PromptTokens() {
  const { t } = useTranslation();
  const ref = useRef<HTMLOListElement>(null);
  useScrollStop(ref);
  // The tokenizer's answer may not say which ids are control tokens; the recording's tokens do.
  const specialIds = useApp((state) =>
    (state.trace?.tokens ?? []).filter((token) => token.special).map((token) => token.id),
  );
  const { tokens, status, error, stale } = useApp((state) => ({
    tokens: state.liveTokens.value,
    status: state.liveTokens.status,
    error: state.liveTokens.error,
    stale: state.liveTokens.prompt !== state.prompt,
  }));
  if (status === "failed" && !stale) return <p className="hint hint-warning">{error}</p>;
  return (
    <>
      <ol
        ref={ref}
        className="token-list"
        data-testid="tokens"
        data-stale={stale}
        aria-label={t("prompt.tokens")}
      >
        {(tokens ?? []).slice(0, SHOWN_TOKENS).map((token, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a token is its place in the prompt
          <TokenChip key={at} token={specialIds.includes(token.id) ? { ...token, special: true } : token} />
        ))}
        {tokens && tokens.length > SHOWN_TOKENS && <li className="token-more">…</li>}
      </ol>
      {tokens?.some((token) => token.leftOff) && (
        <p className="hint" data-testid="left-off">
          {t("prompt.leftOffNote")}
        </p>
      )}
    </>
  );
}

function TokenChip({ token }: { token: PromptToken }) {
  const { t } = useTranslation();
  const title = [
    t("prompt.token", { id: token.id }),
    token.special ? t("prompt.special") : null,
    token.text.includes("\ufffd") ? t("prompt.byte") : null,
    token.leftOff ? t("prompt.leftOff") : null,
  ]
    .filter((part) => part !== null)
    .join(", ");
  return (
    <li
      className="token-chip"
      data-special={token.special || undefined}
      data-left-off={token.leftOff || undefined}
      title={title}
    >
      <TokenText token={token} />
      <span className="token-id mono">{token.id}</span>
    </li>
  );
}
