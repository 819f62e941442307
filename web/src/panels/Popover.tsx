import type { ReactNode } from "react";
import { usePopover } from "./usePopover";

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
  const { open, setOpen, close, rootRef } = usePopover();
  return (
    <div ref={rootRef} className={className}>
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
