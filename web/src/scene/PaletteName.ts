/** Which of the two palettes the scene is drawn with. */
export type PaletteName = "dark" | "light";
