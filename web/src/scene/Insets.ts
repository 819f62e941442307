export interface Insets {
  left: number;
  right: number;
  top: number;
  bottom: number;
}
