import type { HeadPlace } from "../../state/AppState";
import type { AllHeads, ScoreName } from "./headScores";

/** What each way of showing all heads is given. */
export interface HeadViewProps {
  table: AllHeads;
  /** What colours the heads. */
  score: ScoreName;
  /** The score of full colour. */
  limit: number;
  /** The head that is told of below: the one under the pointer, else the chosen one, else the strongest. */
  shown: HeadPlace | null;
  chosen: HeadPlace | null;
  onHover(head: HeadPlace | null): void;
  onChoose(head: HeadPlace): void;
}
