import { useTranslation } from "react-i18next";
import type { HeadPattern } from "../../state/AppState";
import { useApp } from "../AppContext";
import { INKS, shareInk } from "./headInk";
import { poolPattern } from "./readPattern";
import { useCanvas } from "./useCanvas";

interface PatternStripProps {
  /** Null while it is on its way. */
  pattern: HeadPattern | null;
  position: number | null;
  name: string;
}

/** A head's pattern as a small triangle of light: rows look, columns are looked at; a cross on the shown token. */
export function PatternStrip({ pattern, position, name }: PatternStripProps) {
  const { t } = useTranslation();
  const theme = useApp((state) => state.theme);
  const { ref } = useCanvas(
    (width) => width,
    (context, side) => {
      const ink = INKS[theme];
      context.strokeStyle = ink.line;
      context.strokeRect(0.5, 0.5, side - 1, side - 1);
      if (!pattern) return;
      const { size, cells } = poolPattern(pattern, Math.floor(side * (window.devicePixelRatio || 1)));
      const image = new ImageData(size, size);
      for (const [at, value] of cells.entries()) {
        const colour = at % size > Math.floor(at / size) ? null : shareInk(value, theme);
        if (colour) image.data.set([...colour.map(Math.round), 255], at * 4);
      }
      const small = new OffscreenCanvas(size, size);
      small.getContext("2d")?.putImageData(image, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(small, 1, 1, side - 2, side - 2);
      const at = (position ?? -1) - pattern.start;
      if (at < 0 || position === null || position >= pattern.stop) return;
      const place = 1 + ((at + 0.5) / (pattern.stop - pattern.start)) * (side - 2);
      context.fillStyle = ink.strong;
      context.globalAlpha = 0.5;
      context.fillRect(1, place - 0.5, place - 1, 1);
      context.fillRect(place - 0.5, place, 1, side - 1 - place);
    },
  );
  return (
    <div className="head-pattern" data-loading={pattern === null}>
      <canvas ref={ref} role="img" aria-label={t("heads.pattern", { name })} />
    </div>
  );
}
