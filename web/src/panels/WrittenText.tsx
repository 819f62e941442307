import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { isBusy, writtenText } from "../state/selectors";
import { useApp } from "./AppContext";
import { copyText } from "./copyText";
import { Icon } from "./Icon";
import { useScrollStop } from "./useScrollStop";

/** How long "Copied" stands. */
const COPIED_MS = 2_000;
/** A screen reader is told of a text that is being written in pieces of this time, not token by token. */
const ANNOUNCE_MS = 2_500;

/** What the model wrote after which prompt, as text: to read, to select, to copy, to be read aloud. */
export function WrittenText() {
  const { t } = useTranslation();
  const ref = useRef<HTMLElement>(null);
  const { prompt, written, writing } = useApp((state) => ({
    prompt: state.tracePrompt ?? "",
    written: writtenText(state),
    writing: isBusy(state),
  }));
  useScrollStop(ref);
  useTail(ref, written);
  if (written === "") return null;
  return (
    <section className="written" aria-label={t("written.title")}>
      <header className="written-header">
        <h3>{t("written.title")}</h3>
        <CopyButton text={prompt + written} />
      </header>
      <article
        ref={ref}
        className="written-text"
        dir="auto"
        aria-label={t("written.text")}
        data-testid="written"
      >
        <span className="quiet">{prompt}</span>
        {written}
      </article>
      <Announcement text={written} writing={writing} />
    </section>
  );
}

/** Keeps the end in view while the text grows, unless somebody scrolled up to read. */
function useTail(ref: React.RefObject<HTMLElement | null>, text: string): void {
  const height = useRef(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a longer text is what moves the end
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const wasAtEnd = element.scrollTop + element.clientHeight >= height.current - 4;
    if (wasAtEnd) element.scrollTop = element.scrollHeight;
    height.current = element.scrollHeight;
  }, [ref, text]);
}

function CopyButton({ text }: { text: string }) {
  const { t } = useTranslation();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), COPIED_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const label = t(copied ? "written.copied" : "written.copy");
  return (
    <>
      <button
        type="button"
        className="icon-button"
        data-testid="copy"
        aria-label={t("written.copy")}
        title={label}
        onClick={async () => setCopied(await copyText(text))}
      >
        <Icon name={copied ? "check" : "copy"} />
      </button>
      <span className="visually-hidden" role="status">
        {copied && label}
      </span>
    </>
  );
}

/** The text in pieces of a few seconds, each ended at a space, for those who hear the page. */
function Announcement({ text, writing }: { text: string; writing: boolean }) {
  const said = useRef({ text: "", length: 0 });
  const [piece, setPiece] = useState("");
  const latest = useRef({ text, writing });
  latest.current = { text, writing };

  useEffect(() => {
    const say = () => {
      const { text, writing } = latest.current;
      // Another text begins anew.
      if (!text.startsWith(said.current.text)) said.current = { text: "", length: 0 };
      const end = writing ? Math.max(said.current.length, text.lastIndexOf(" ")) : text.length;
      if (end <= said.current.length) return;
      setPiece(text.slice(said.current.length, end));
      said.current = { text: text.slice(0, end), length: end };
    };
    if (!writing) say();
    const timer = writing ? setInterval(say, ANNOUNCE_MS) : undefined;
    return () => clearInterval(timer);
  }, [writing]);

  return (
    <p className="visually-hidden" aria-live="polite" data-testid="announcement">
      {piece}
    </p>
  );
}
