export type PaletteName = "dark" | "light";
