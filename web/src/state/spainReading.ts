import { parsePartName } from "../protocol/parsePart";
import type { Effect, Effects, Reading, Token, Word } from "../protocol/schema.generated";

/** "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is", for tests. */
export const spainTokens: Token[] = [
  [504, "The"],
  [3575, " capital"],
  [282, " of"],
  [4649, " France"],
  [314, " is"],
  [7042, " Paris"],
  [30, "."],
  [378, " The"],
  [3575, " capital"],
  [282, " of"],
  [7158, " Italy"],
  [314, " is"],
  [7268, " Rome"],
  [30, "."],
  [378, " The"],
  [3575, " capital"],
  [282, " of"],
  [7476, " Spain"],
  [314, " is"],
].map(([id, text]) => ({ id: Number(id), text: String(text), special: false }));

const MADRID = { id: 28030, text: " Madrid" };
const SPAIN = { id: 7476, text: " Spain" };
const NEW = { id: 2276, text: " New" };
const BARCELONA = { id: 30010, text: " Barcelona" };
const IS = { id: 314, text: " is" };
const NO_PLACE = { position: null, block: null, head: null, expert: null };

/** What SmolLM2-135M-Instruct says of it, in part: the real numbers of a real model. */
export const spainReading: Reading = {
  position: 18,
  token: MADRID,
  versus: "mean",
  logit: 23.559,
  probability: 0.59225,
  lens: Array.from({ length: 31 }, (_, boundary) => ({
    boundary,
    ...(lensOf()[boundary] ?? { tokens: [{ id: 30, text: ".", probability: 0.6 }], chosen: 0 }),
  })),
  parts: [
    { ...NO_PLACE, kind: "embedding", value: 0.03 },
    { ...NO_PLACE, kind: "head", block: 23, head: 4, value: 3.76187 },
    { ...NO_PLACE, kind: "head", block: 24, head: 4, value: -0.47166 },
    { ...NO_PLACE, kind: "mlp", block: 24, value: 1.2 },
  ],
  remainder: 0,
  attention: [
    {
      block: 24,
      head: 4,
      positions: [0, 3, 5, 17, 18],
      weights: [0.1298, 0.0081, 0.0434, 0.7974, 0.0029],
      carried: [1.078, 0.5341, 3.1309, 60.7431, 0.11],
    },
  ],
  stream: [],
};

function lensOf(): Record<number, Pick<Reading["lens"][number], "tokens" | "chosen">> {
  return {
    0: { tokens: [{ ...IS, probability: 1 }], chosen: 0 },
    25: { tokens: [{ id: 260, text: " the", probability: 0.24094 }], chosen: 6e-6 },
    26: { tokens: [{ id: 1062, text: " both", probability: 0.24817 }], chosen: 1.6e-5 },
    27: { tokens: [{ id: 260, text: " the", probability: 0.39213 }], chosen: 0.000284 },
    28: { tokens: [{ id: 1062, text: " both", probability: 0.10845 }], chosen: 0.012898 },
    29: { tokens: [{ id: 8968, text: " Cast", probability: 0.10646 }], chosen: 0.028462 },
    30: {
      tokens: [
        { ...MADRID, probability: 0.59225 },
        { ...SPAIN, probability: 0.22994 },
      ],
      chosen: 0.59225,
    },
  };
}

export const spainEffects: Effects = {
  position: 18,
  token: MADRID,
  versus: "mean",
  off: "zero",
  blocks: [0, 29],
  base: { probability: 0.59225, margin: -0.52383, token: MADRID },
  parts: [
    testedPart("token.0", 0.41701, MADRID),
    testedPart("token.15", 0.38424, SPAIN),
    testedPart("token.17", 0.00418, NEW),
    testedPart("mlp.0", 0.0001, IS),
    testedPart("head.1.3", 0.33783, SPAIN),
    testedPart("mlp.22", 0.20308, BARCELONA),
    testedPart("head.23.4", 0.5, MADRID),
    testedPart("head.24.4", 0.06243, SPAIN),
    testedPart("attention.24", 0.05, SPAIN),
    testedPart("mlp.24", 0.1471, SPAIN),
    testedPart("head.29.1", 0.62, MADRID),
  ],
};

/** What a part is worth, for tests; without a margin it is the log-probability, as against the average word. */
export function testedPart(
  name: string,
  probability: number,
  token: Word,
  margin: number = Math.log(probability),
): Effect {
  const place = parsePartName(name);
  if (!place) throw new Error(`${name} is no part`);
  return { ...NO_PLACE, ...place, probability, margin, token };
}
