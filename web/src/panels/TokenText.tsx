import type { Token } from "../protocol/schema.generated";
import { splitToken } from "./splitToken";

/** A token's text with its white space made visible and partial characters named. */
export function TokenText({ token }: { token: Token }) {
  return (
    <span className="token-text" data-special={token.special || undefined}>
      {splitToken(token).map((part, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one token have no other identity
        <span key={at} className={`token-${part.kind}`}>
          {part.text}
        </span>
      ))}
    </span>
  );
}
