import katex from "katex";
import katexCss from "katex/dist/katex.min.css?raw";
import { useMemo } from "react";

// KaTeX's own font rules name sixty files in three formats; math.css names the few that our formulas use.
const sheet = new CSSStyleSheet();
sheet.replaceSync(katexCss.replaceAll(/@font-face\{[^}]*\}/g, ""));
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];

export default function Typeset({ latex, block }: { latex: string; block: boolean }) {
  const html = useMemo(
    () =>
      katex.renderToString(latex, {
        displayMode: block,
        throwOnError: false,
        strict: "ignore",
        trust: false,
      }),
    [latex, block],
  );
  return (
    <span
      className={block ? "formula formula-block" : "formula"}
      // biome-ignore lint/security/noDangerouslySetInnerHtml: KaTeX escapes its input, and `trust` is off
      dangerouslySetInnerHTML={{ __html: html }}
    />
  );
}
