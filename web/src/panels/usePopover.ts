import { type RefObject, useEffect, useRef, useState } from "react";

interface PopoverState {
  open: boolean;
  setOpen: (open: boolean) => void;
  /** Closes it and gives the focus back to its button. */
  close: () => void;
  /** Around the button and what it opens. */
  rootRef: RefObject<HTMLDivElement | null>;
}

/**
 * What a button opens beside itself: a press elsewhere, leaving it or Escape closes it. Escape does wherever the focus is, since
 * some browsers give a pressed button none.
 */
export function usePopover(): PopoverState {
  const rootRef = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (!open) return;
    const leave = (event: Event) => {
      if (!rootRef.current?.contains(event.target as Node)) setOpen(false);
    };
    const closeByKey = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      setOpen(false);
      focusButton(rootRef.current);
    };
    document.addEventListener("pointerdown", leave);
    document.addEventListener("focusin", leave);
    document.addEventListener("keydown", closeByKey, true);
    return () => {
      document.removeEventListener("pointerdown", leave);
      document.removeEventListener("focusin", leave);
      document.removeEventListener("keydown", closeByKey, true);
    };
  }, [open]);
  const close = () => {
    setOpen(false);
    focusButton(rootRef.current);
  };
  return { open, setOpen, close, rootRef };
}

function focusButton(root: HTMLElement | null): void {
  root?.querySelector("button")?.focus();
}
