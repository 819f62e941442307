import type { Effects, Reading } from "../protocol/schema.generated";

const MARGIN = -0.5;

/** A reading of a model of so many blocks with so many heads, as a server would send it: for tests. */
export function sampleReading(blocks: number, heads: number, position: number): Reading {
  const positions = Array.from({ length: position + 1 }, (_, at) => at);
  return {
    position,
    token: { id: 7, text: " Madrid" },
    versus: "mean",
    logit: 20,
    probability: 0.6,
    lens: Array.from({ length: blocks + 1 }, (_, boundary) => ({
      boundary,
      chosen: boundary === blocks ? 0.6 : 0.01,
      tokens: [
        boundary === blocks
          ? { id: 7, text: " Madrid", probability: 0.6 }
          : { id: 100 + (boundary >> 1), text: ` word${boundary >> 1}`, probability: 0.1 + boundary / 100 },
      ],
    })),
    parts: each(blocks, heads).map(({ block, head }) =>
      head === null
        ? { kind: "mlp", block, head: null, expert: null, value: block / 10 }
        : { kind: "head", block, head, expert: null, value: -block / 20 },
    ),
    remainder: 0,
    attention: each(blocks, heads).flatMap(({ block, head }) =>
      head === null
        ? []
        : [
            {
              block,
              head,
              positions,
              weights: positions.map(() => 1 / positions.length),
              // Most of it comes from one word, which is another one in each block; some from the own position.
              carried: positions.map((at) => (at === block % position ? 8 : at === position ? 4 : 0.1)),
            },
          ],
    ),
    stream: Array.from({ length: blocks + 1 }, (_, boundary) => ({
      boundary,
      rms: positions.map((at) => (at === 0 ? 30 : 1) * (boundary + 1)),
    })),
    refused: [],
  };
}

/** Effects in which one head, one word and the first MLP matter, and all else a little, each by its own sign. */
export function sampleEffects(blocks: number, heads: number, position: number): Effects {
  const token = { id: 7, text: " Madrid" };
  const other = { id: 9, text: " Spain" };
  const effect = (loss: number) => ({
    probability: Math.exp(MARGIN - loss),
    margin: MARGIN - loss,
    token: loss > 1 ? other : token,
    position: null,
    block: null,
    head: null,
    expert: null,
  });
  return {
    position,
    token,
    versus: "mean",
    off: "zero",
    blocks: [0, blocks - 1],
    base: { probability: Math.exp(MARGIN), margin: MARGIN, token },
    parts: [
      ...Array.from({ length: position + 1 }, (_, at) => ({
        ...effect(at === position - 1 ? 4.5 : 0.05),
        kind: "token" as const,
        position: at,
      })),
      ...each(blocks, heads).map(({ block, head }) => {
        const isFirst = block === 0 && head === null;
        const isBest = block === blocks - 2 && head === 1;
        const loss = isFirst ? 9 : isBest ? 2 : block % 2 === 0 ? 0.2 : -0.1;
        return { ...effect(loss), kind: head === null ? ("mlp" as const) : ("head" as const), block, head };
      }),
    ],
    refused: [],
  };
}

function each(blocks: number, heads: number): { block: number; head: number | null }[] {
  return Array.from({ length: blocks }, (_, block) => [
    ...Array.from({ length: heads }, (_, head) => ({ block, head })),
    { block, head: null },
  ]).flat();
}
