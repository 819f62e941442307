const PATHS = {
  fit: "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4M7.5 10h5M10 7.5v5",
  undo: "M7 4L3.5 7.5 7 11M4 7.5h7.5a4.5 4.5 0 0 1 0 9H8",
  redo: "M13 4l3.5 3.5L13 11M16 7.5H8.5a4.5 4.5 0 0 0 0 9H12",
  write: "M4 15.5l1-4L13.5 3l3 3L8 14.5zM11.5 5l3 3",
  pause: "M7 4v12M13 4v12",
  step: "M5 4v12l8-6zM15.5 4v12",
  branch: "M6 3v14M6 13c0-4 8-3 8-7M14 6.5a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6z",
  search: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM13 13l4 4",
  save: "M10 3v9M6 8.5l4 4 4-4M3.5 16.5h13",
  large: "M2.5 15.5L7 4.5l4.5 11M4 12h6M12.5 15.5l2.5-6 2.5 6M13.3 13.5h3.4",
  play: "M6 3.5v13l10-6.5z",
  outline: "M3 4.5h5M6 10h5M6 15.5h5M4 4.5V15.5M4 10h2M4 15.5h2M14 10h3M14 15.5h3",
  guide: "M7.2 7.4a2.9 2.9 0 1 1 4.3 2.6c-1 .6-1.5 1.1-1.5 2.2M10 15.3v.2",
  system: "M3 4.5h14v9H3zM7.5 17h5M10 13.5V17",
  dark: "M16.5 12A7 7 0 0 1 8 3.5 7 7 0 1 0 16.5 12z",
  light:
    "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.8v2M10 16.2v2M1.8 10h2M16.2 10h2M4.2 4.2l1.4 1.4M14.4 14.4l1.4 1.4M4.2 15.8l1.4-1.4M14.4 5.6l1.4-1.4",
  close: "M4.5 4.5l11 11M15.5 4.5l-11 11",
  chevron: "M5 7.5l5 5 5-5",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  up: "M5 12.5l5-5 5 5",
  down: "M5 7.5l5 5 5-5",
  left: "M12.5 4.5L7 10l5.5 5.5",
  right: "M7.5 4.5L13 10l-5.5 5.5",
  copy: "M7 7h9v10H7zM4 13V3h9",
  check: "M4 10.5l4 4 8-9",
  target: "M10 5a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM10 1.5v4M10 14.5v4M1.5 10h4M14.5 10h4",
  prompt: "M3 4h14v9H9l-4 3.5V13H3z",
  sampling: "M4 17V9M8 17V4M12 17v-6M16 17v-3",
  follow: "M10 2.5v11M6 9.5l4 4 4-4M4 17h12",
  heads:
    "M4 4h.1M10 4h.1M16 4h.1M4 10h.1M10 10h.1M16 10h.1M4 16h.1M10 16h.1M16 16h.1M8.2 2.2h3.6v3.6H8.2zM14.2 14.2h3.6v3.6h-3.6z",
  inspector: "M3 3h14v14H3zM3 8h14M8 3v14",
} as const;

export type IconName = keyof typeof PATHS;

/** A line icon on a 20 px grid; always decorative, the control around it carries the name. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
