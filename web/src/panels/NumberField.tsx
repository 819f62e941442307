import { type ComponentProps, useState } from "react";

interface NumberFieldProps extends Omit<ComponentProps<"input">, "value" | "onChange"> {
  /** Null shows the placeholder. */
  value: number | null;
  min: number;
  max: number;
  /** Whether the field may be left empty. */
  clearable?: boolean;
  onValue(value: number | null): void;
}

/** A whole number that can be typed freely: what does not count yet stays in the field until it is left. */
export function NumberField({ value, min, max, clearable = false, onValue, ...rest }: NumberFieldProps) {
  const [draft, setDraft] = useState<string | null>(null);
  return (
    <input
      {...rest}
      type="number"
      inputMode="numeric"
      min={min}
      max={max}
      value={draft ?? value ?? ""}
      onChange={(event) => {
        const text = event.target.value;
        setDraft(text);
        const typed = Number(text);
        if (text === "") {
          if (clearable) onValue(null);
        } else if (Number.isSafeInteger(typed) && typed >= min && typed <= max) onValue(typed);
      }}
      onBlur={() => setDraft(null)}
    />
  );
}
