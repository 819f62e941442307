import { memo } from "react";
import type { TextPiece } from "../state/cutText";

interface PieceProps {
  text: string;
  position: number;
  written: boolean;
  current: boolean;
}

/** A text that can be selected as any text, and whose words lead to their tokens. */
export function TextPieces({
  pieces,
  written = false,
  shown,
}: {
  pieces: readonly TextPiece[];
  written?: boolean;
  /** The position that the picture shows. */
  shown: number | null;
}) {
  return pieces.map((piece) => (
    <Piece
      key={piece.start}
      text={piece.text}
      position={piece.to}
      written={written}
      current={shown !== null && shown >= piece.from && shown <= piece.to}
    />
  ));
}

/** Memoised: while a text grows, only its last piece is new. */
const Piece = memo(function Piece({ text, position, written, current }: PieceProps) {
  return (
    <span
      className="piece"
      data-position={position}
      data-written={written || undefined}
      data-current={current || undefined}
    >
      {text}
    </span>
  );
});
