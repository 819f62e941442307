import { useTranslation } from "react-i18next";
import type { Kept } from "../state/AppState";
import { keepShown } from "../state/keepShown";
import { givenText, writtenText } from "../state/recordedText";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { Icon } from "./Icon";
import { Popover } from "./Popover";
import { plainToken } from "./splitToken";

/** How much of a text tells it from the others. */
const SHOWN_CHARACTERS = 56;

/** The recordings of this page: each branch of a text, and what was asked before. One click goes back to one. */
export function KeptRecordings() {
  const { t } = useTranslation();
  const count = useApp((state) => keepShown(state).length);
  if (count < 2) return null;
  return (
    <Popover
      className="kept"
      label={t("timeline.kept", { count })}
      hint={t("timeline.keptHint")}
      testId="kept-toggle"
      face={
        <>
          <Icon name="branch" />
          <span className="mono">{count}</span>
        </>
      }
    >
      {(close) => <KeptList onChosen={close} />}
    </Popover>
  );
}

function KeptList({ onChosen }: { onChosen: () => void }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const shown = useApp((state) => state.trace?.id);
  const all = keepShown(store.getState());
  return (
    <ol
      className="kept-list panel"
      data-testid="kept-list"
      aria-label={t("timeline.kept", { count: all.length })}
    >
      {all.map((kept) => (
        <li key={kept.trace.id}>
          <button
            type="button"
            className="kept-row"
            aria-current={kept.trace.id === shown || undefined}
            onClick={() => {
              commands.goBackTo(kept.trace.id);
              onChosen();
            }}
          >
            <span className="kept-text" dir="auto">
              {endOf(kept)}
            </span>
            <KeptNote kept={kept} />
          </button>
        </li>
      ))}
    </ol>
  );
}

/** What makes it another text than the one it began as. */
function KeptNote({ kept }: { kept: Kept }) {
  const { t } = useTranslation();
  const { trace, made } = kept;
  const forced = made?.given.forced.length ? trace.tokens[trace.prompt_count] : undefined;
  const notes = [
    t("status.recorded", { count: trace.tokens.length }),
    forced && t("timeline.forced", { token: plainToken(forced), position: trace.prompt_count }),
    (trace.interventions ?? []).length > 0 && t("timeline.changed"),
  ].filter(Boolean);
  return <span className="quiet">{notes.join(" · ")}</span>;
}

function endOf(kept: Kept): string {
  const written = writtenText(kept).trim();
  const text = written === "" ? givenText(kept) : written;
  if (text.length <= SHOWN_CHARACTERS) return text;
  return written === "" ? `… ${text.slice(-SHOWN_CHARACTERS)}` : `${text.slice(0, SHOWN_CHARACTERS)} …`;
}
