const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => Math.log1p(Math.exp(-Math.abs(x))) + Math.max(0, x);
const silu = (x: number) => x * sigmoid(x);
const tanhGelu = (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const squaredRelu = (x: number) => Math.max(0, x) ** 2;

/** Activation functions by the names of PyTorch's and transformers' modules, as the anatomy's equations give them. */
export const activationFunctions: Readonly<Record<string, (x: number) => number>> = {
  SiLU: silu,
  GELU: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  GELUTanh: tanhGelu,
  NewGELU: tanhGelu,
  FastGELU: tanhGelu,
  QuickGELU: (x) => x * sigmoid(1.702 * x),
  ReLU: (x) => Math.max(0, x),
  ReLU2: squaredRelu,
  ReLUSquared: squaredRelu,
  Mish: (x) => x * Math.tanh(softplus(x)),
  Sigmoid: sigmoid,
  Softplus: softplus,
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
