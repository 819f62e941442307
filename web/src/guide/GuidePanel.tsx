import { useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Anatomy } from "../protocol/schema.generated";
import { guideSteps } from "./guideSteps";

interface GuidePanelProps {
  anatomy: Anatomy | null;
  highlight: (addresses: string[]) => void;
  /** Brings what a step speaks of into view: it may be far from here, or too small to be seen. */
  focus: (addresses: string[]) => void;
  onClose: () => void;
}

const SHORTCUTS = [
  ["/", "search"],
  ["W", "prompt"],
  ["Ctrl Enter", "run"],
  ["Ctrl Shift Enter", "generate"],
  ["Ctrl .", "stop"],
  ["F", "fit"],
  ["Z", "undo"],
  ["Shift Z", "redo"],
  [", .", "scrub"],
  ["P", "play"],
  ["O", "outline"],
  ["H", "heads"],
  ["M N B", "jumps"],
  ["S", "save"],
  ["L", "large"],
  ["T", "theme"],
  ["R", "ride"],
  ["?", "guide"],
  ["Esc", "escape"],
] as const;

/** A short walk through the model and the keys; beside the scene, never over it. */
export default function GuidePanel({ anatomy, highlight, focus, onClose }: GuidePanelProps) {
  const { t } = useTranslation();
  const steps = useMemo(() => (anatomy ? guideSteps(anatomy) : []), [anatomy]);
  const [at, setAt] = useState(0);
  const ref = useRef<HTMLElement>(null);
  const step = steps[Math.min(at, steps.length - 1)];

  const go = (to: number) => {
    setAt(to);
    focus(steps[to]?.view ?? []);
  };

  useEffect(() => {
    ref.current?.focus();
  }, []);
  useEffect(() => {
    highlight(step?.addresses ?? []);
    return () => highlight([]);
  }, [step, highlight]);

  return (
    <section
      ref={ref}
      className="panel guide"
      data-testid="guide"
      aria-label={t("guide.title")}
      tabIndex={-1}
    >
      <header className="panel-header">
        <h2>{t("guide.title")}</h2>
        {step && <span className="aside mono">{t("guide.step", { step: at + 1, count: steps.length })}</span>}
        <button
          type="button"
          className="icon-button"
          aria-label={t("guide.close")}
          title={`${t("guide.close")} (Esc)`}
          onClick={onClose}
        >
          <svg className="icon" viewBox="0 0 20 20" aria-hidden="true">
            <path d="M4.5 4.5l11 11M15.5 4.5l-11 11" />
          </svg>
        </button>
      </header>
      {step && (
        <div className="guide-step" aria-live="polite">
          <h3>{t(`guide.steps.${step.name}.title`)}</h3>
          <p>{t(`guide.steps.${step.name}.text`)}</p>
        </div>
      )}
      <div className="guide-controls">
        <button type="button" className="button" disabled={at === 0} onClick={() => go(at - 1)}>
          {t("guide.back")}
        </button>
        <span className="guide-dots" aria-hidden="true">
          {steps.map((each, index) => (
            <i key={each.name} data-current={index === at || undefined} />
          ))}
        </span>
        <button
          type="button"
          className="button button-primary"
          onClick={() => (at + 1 < steps.length ? go(at + 1) : onClose())}
        >
          {t(at + 1 < steps.length ? "guide.next" : "guide.done")}
        </button>
      </div>
      <details className="guide-keys">
        <summary>{t("guide.shortcuts")}</summary>
        <dl>
          {SHORTCUTS.map(([keys, name]) => (
            <div key={name}>
              <dt>
                {keys.split(" ").map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </dt>
              <dd>{t(`guide.keys.${name}`)}</dd>
            </div>
          ))}
        </dl>
        <p className="hint">{t("guide.keys.scene")}</p>
      </details>
    </section>
  );
}
