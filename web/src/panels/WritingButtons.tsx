import { useTranslation } from "react-i18next";
import { isBusy, shownPosition, textEnd } from "../state/selectors";
import { useApp, useCommands } from "./AppContext";
import { Icon, type IconName } from "./Icon";

/** Pause, go on, one token at a time: from the end, or from a token that somebody chose, which makes another text. */
export function WritingButtons() {
  const { t } = useTranslation();
  const commands = useCommands();
  const { live, full, busy, stopping, from } = useApp((state) => ({
    live: state.origin === "live",
    full: textEnd(state) > (state.anatomy?.dimensions.context ?? 0),
    busy: isBusy(state),
    stopping: state.activity === "stopping" || state.activity === "starting",
    from: state.position === null ? null : shownPosition(state),
  }));
  if (!live) return null;
  const start = from === null ? {} : { position: from };
  const isFull = from === null && full;
  const fromEnd = t(isFull ? "timeline.full" : "timeline.fromEnd");
  const whence = from === null ? fromEnd : t("timeline.fromHere", { position: from });
  return (
    <div className="writing-buttons">
      {busy ? (
        <WritingButton
          icon="pause"
          testId="pause"
          label={t("timeline.pause")}
          hint={t("timeline.pauseHint")}
          disabled={stopping}
          onClick={commands.stop}
        />
      ) : (
        <WritingButton
          icon="write"
          testId="write-on"
          label={t("timeline.writeOn")}
          hint={whence}
          disabled={isFull}
          onClick={() => commands.writeOn(start)}
        />
      )}
      <WritingButton
        icon="step"
        testId="write-one"
        label={t("timeline.writeOne")}
        hint={busy ? t("prompt.whyNot.busy") : whence}
        disabled={busy || isFull}
        onClick={() => commands.writeOn({ ...start, count: 1 })}
      />
    </div>
  );
}

interface WritingButtonProps {
  icon: IconName;
  testId: string;
  label: string;
  hint: string;
  disabled?: boolean;
  onClick: () => void;
}

function WritingButton({ icon, testId, label, hint, disabled = false, onClick }: WritingButtonProps) {
  return (
    <button
      type="button"
      className="icon-button"
      data-testid={testId}
      aria-label={label}
      title={`${label}: ${hint}`}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
