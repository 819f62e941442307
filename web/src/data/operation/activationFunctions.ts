const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
/** Straight where PyTorch's is. */
const softplus = (x: number) => (x > 20 ? x : Math.log1p(Math.exp(x)));
const silu = (x: number) => x * sigmoid(x);
const gelu = (x: number) => (x / 2) * (1 + erf(x / Math.SQRT2));
const tanhGelu = (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const squaredRelu = (x: number) => Math.max(0, x) ** 2;
const limit = (x: number, least: number, most: number) => Math.max(least, Math.min(most, x));

/**
 * Activation functions by the names of PyTorch's and transformers' modules, as the anatomy's equations give them, and
 * with their digits. Those with parameters of their own are the model's alone.
 */
export const activationFunctions: Readonly<Record<string, (x: number) => number>> = {
  SiLU: silu,
  GELU: gelu,
  ClippedGELU: (x) => limit(gelu(x), -10, 10),
  GELUTanh: tanhGelu,
  NewGELU: tanhGelu,
  AccurateGELU: tanhGelu,
  FastGELU: (x) => (x / 2) * (1 + Math.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))),
  BloomGelu: (x) => (x / 2) * (1 + Math.tanh(0.79788456 * x * (1 + 0.044715 * x * x))),
  QuickGELU: (x) => x * sigmoid(1.702 * x),
  ReLU: (x) => Math.max(0, x),
  ReLU2: squaredRelu,
  ReLUSquared: squaredRelu,
  ReLU6: (x) => limit(x, 0, 6),
  LeakyReLU: (x) => (x < 0 ? 0.01 * x : x),
  Linear: (x) => x,
  Hardswish: (x) => (x * limit(x + 3, 0, 6)) / 6,
  // The digits are transformers' own: not quite the root of a half.
  // biome-ignore lint/suspicious/noApproximativeNumericConstant: see above
  Laplace: (x) => (1 + erf((x - 0.707107) / (0.282095 * Math.SQRT2))) / 2,
  Mish: (x) => x * Math.tanh(softplus(x)),
  Sigmoid: sigmoid,
  Softplus: softplus,
  SqrtSoftplus: (x) => Math.sqrt(softplus(x)),
  Tanh: Math.tanh,
};

/** Below this the series is exact to rounding, above it the continued fraction is (Abramowitz and Stegun 7.1.5, 7.1.14). */
const SERIES_LIMIT = 2.5;

function erf(x: number): number {
  const size = Math.abs(x);
  if (size > SERIES_LIMIT) {
    let fraction = 0;
    for (let step = 60; step > 0; step -= 1) fraction = step / 2 / (size + fraction);
    return Math.sign(x) * (1 - Math.exp(-size * size) / (Math.sqrt(Math.PI) * (size + fraction)));
  }
  let term = x;
  let sum = x;
  for (let step = 1; step < 80; step += 1) {
    term *= -(x * x) / step;
    sum += term / (2 * step + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
