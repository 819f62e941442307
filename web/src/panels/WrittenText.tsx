import { type MouseEvent, type ReactNode, type RefObject, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { shownTurns, type Turn } from "../state/conversation";
import { joinPieces, recordedText, writtenText } from "../state/recordedText";
import { isBusy, shownPosition } from "../state/selectors";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { copyText } from "./copyText";
import { Icon } from "./Icon";
import { TextPieces } from "./TextPieces";
import { useScrollStop } from "./useScrollStop";

/** How long "Copied" stands. */
const COPIED_MS = 2_000;
/** A screen reader is told of a text that is being written in pieces of this time, not token by token. */
const ANNOUNCE_MS = 2_500;

/** What the model wrote after which prompt, as text: to read, to select, to copy, to be read aloud, to go on with. */
export function WrittenText() {
  const { t } = useTranslation();
  const { prompt, written } = useApp(recordedText);
  const shown = useApp((state) => (state.position === null ? null : shownPosition(state)));
  if (written.length === 0) return null;
  const answer = joinPieces(written);
  return (
    <section className="written" aria-label={t("written.title")}>
      <header className="written-header">
        <h3>{t("written.title")}</h3>
        <ContinueButton />
        <CopyButton text={joinPieces(prompt) + answer} />
      </header>
      <Clickable label={t("written.text")} testId="written" grown={answer}>
        <span className="quiet">
          <TextPieces pieces={prompt} shown={shown} />
        </span>
        <TextPieces pieces={written} shown={shown} written />
      </Clickable>
      <Announcement />
    </section>
  );
}

/** The recording on screen as turns of a conversation. */
export function Conversation() {
  const { t } = useTranslation();
  const store = useAppStore();
  // One string, so that panels are drawn again only when something is said.
  const said = useApp((state) => JSON.stringify(shownTurns(state).map(({ role, text }) => [role, text])));
  const shown = useApp((state) => (state.position === null ? null : shownPosition(state)));
  const busy = useApp(isBusy);
  const turns = shownTurns(store.getState());
  if (turns.length === 0) return null;
  return (
    <section className="written" aria-label={t("written.conversation")}>
      <header className="written-header">
        <h3>{t("written.conversation")}</h3>
        <button
          type="button"
          className="text-button"
          data-testid="begin-anew"
          disabled={busy}
          title={busy ? t("prompt.whyNot.busy") : t("written.beginAnewHint")}
          onClick={() => {
            store.setState({ beginsAnew: true, prompt: "" });
            document.getElementById("prompt")?.focus();
          }}
        >
          {t("written.beginAnew")}
        </button>
        <CopyButton text={turns.map((turn) => turn.text).join("\n\n")} />
      </header>
      <Clickable label={t("written.turns")} testId="conversation" grown={said}>
        {turns.map((turn, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a turn is its place in the conversation
          <TurnText key={at} turn={turn} shown={shown} />
        ))}
      </Clickable>
      <Announcement />
    </section>
  );
}

function TurnText({ turn, shown }: { turn: Turn; shown: number | null }) {
  const { t } = useTranslation();
  const model = useApp((state) => state.anatomy?.title ?? "");
  const { role, text, pieces } = turn;
  return (
    <div className="turn" data-role={role}>
      <span className="turn-role">{t(`written.role.${role}`, { model })}</span>
      <p className="turn-text" dir="auto">
        {pieces.length > 0 ? (
          <TextPieces pieces={pieces} shown={shown} written={role === "assistant"} />
        ) : (
          text
        )}
      </p>
    </div>
  );
}

interface ClickableProps {
  label: string;
  testId: string;
  /** The end stays in view while this grows. */
  grown: string;
  children: ReactNode;
}

/** A text whose words can be clicked. Keys have the timeline, which holds the same tokens as buttons. */
function Clickable({ label, testId, grown, children }: ClickableProps) {
  const { t } = useTranslation();
  const store = useAppStore();
  const ref = useRef<HTMLElement>(null);
  useScrollStop(ref);
  useTail(ref, grown);
  const select = (event: MouseEvent) => {
    // Who selects text to copy it has not asked for a token.
    if (!window.getSelection()?.isCollapsed || !(event.target instanceof HTMLElement)) return;
    const piece = event.target.closest<HTMLElement>("[data-position]");
    if (piece) store.setState({ position: Number(piece.dataset.position) });
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the timeline has a button for each of these words
    <article
      ref={ref}
      className="written-text"
      dir="auto"
      aria-label={label}
      title={t("written.pieceHint")}
      data-testid={testId}
      onClick={select}
    >
      {children}
    </article>
  );
}

/** Keeps the end in view while the text grows, unless somebody scrolled up to read. */
function useTail(ref: RefObject<HTMLElement | null>, text: string): void {
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

function ContinueButton() {
  const { t } = useTranslation();
  const commands = useCommands();
  const { busy, live } = useApp((state) => ({ busy: isBusy(state), live: state.origin === "live" }));
  if (!live) return null;
  return (
    <button
      type="button"
      className="text-button"
      data-testid="continue"
      disabled={busy}
      title={busy ? t("prompt.whyNot.busy") : t("written.continueHint")}
      onClick={() => commands.writeOn()}
    >
      {t("written.continue")}
    </button>
  );
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
function Announcement() {
  const text = useApp(writtenText);
  const writing = useApp(isBusy);
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
