import { type ReactNode, useEffect, useRef, useState } from "react";

interface PopoverProps {
  className: string;
  label: string;
  hint: string;
  testId: string;
  /** What the button shows. */
  face: ReactNode;
  /** `close` gives the focus back to the button. */
  children: (close: () => void) => ReactNode;
}

/** A button that opens something small beside it; a click elsewhere, Escape or leaving it closes it. */
export function Popover({ className, label, hint, testId, face, children }: PopoverProps) {
  const ref = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (!open) return;
    const leave = (event: Event) => {
      if (!ref.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", leave);
    document.addEventListener("focusin", leave);
    return () => {
      document.removeEventListener("pointerdown", leave);
      document.removeEventListener("focusin", leave);
    };
  }, [open]);
  const close = () => {
    setOpen(false);
    ref.current?.querySelector("button")?.focus();
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes it from wherever in it the focus is
    <div
      ref={ref}
      className={className}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !open) return;
        event.preventDefault();
        close();
      }}
    >
      <button
        type="button"
        className="icon-button"
        data-testid={testId}
        aria-expanded={open}
        aria-label={label}
        title={hint}
        onClick={() => setOpen(!open)}
      >
        {face}
      </button>
      {open && children(close)}
    </div>
  );
}
