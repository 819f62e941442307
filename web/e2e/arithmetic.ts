/**
 * Reads a formula as a person does: numbers, signs, brackets and named functions, and multiplies it out. What the digits
 * shown leave open comes with it.
 */
export interface Reading {
  value: number;
  /** How far the value may be off, for each number is only known to half of its last digit. */
  slack: number;
}

const FUNCTIONS: Record<string, (x: number) => number> = {
  SiLU: (x) => x / (1 + Math.exp(-x)),
  NewGELU: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  exp: Math.exp,
  tanh: Math.tanh,
};

const TOKEN = /\s*(?:(\d[\d\u2009]*(?:\.\d+)?(?:e−?\d+)?)|([A-Za-z]+)(?=\()|([−+×÷()]))/y;

export function readFormula(text: string): Reading {
  const tokens = tokenize(text.trim());
  const numbers = tokens.flatMap((token) => (typeof token === "object" ? [token] : []));
  const value = evaluate(tokens);
  let slack = 0;
  for (const number of numbers) {
    const kept = number.value;
    number.value = kept + number.half;
    slack += Math.abs(evaluate(tokens) - value);
    number.value = kept;
  }
  // Two of them may bend a function further than one after the other.
  return { value, slack: slack * 1.05 };
}

interface Digits {
  value: number;
  half: number;
}

function tokenize(text: string): (string | Digits)[] {
  const found: (string | Digits)[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`no formula at ${at} of: ${text}`);
    const [, digits, name, sign] = match;
    found.push(digits ? readDigits(digits) : (name ?? sign ?? ""));
  }
  return found;
}

function readDigits(text: string): Digits {
  const plain = text.replaceAll("−", "-").replaceAll("\u2009", "");
  const [mantissa = "", exponent = "0"] = plain.split("e");
  const decimals = mantissa.split(".")[1]?.length ?? 0;
  return { value: Number(plain), half: 0.5 * 10 ** (Number(exponent) - decimals) };
}

function evaluate(tokens: (string | Digits)[]): number {
  let at = 0;
  const value = sum();
  if (at < tokens.length) throw new Error(`more than a formula: ${JSON.stringify(tokens)}`);
  return value;

  function sum(): number {
    let total = product();
    while (tokens[at] === "+") {
      at += 1;
      total += product();
    }
    return total;
  }

  function product(): number {
    let value = factor();
    while (tokens[at] === "×" || tokens[at] === "÷") {
      const isTimes = tokens[at] === "×";
      at += 1;
      const next = factor();
      value = isTimes ? value * next : value / next;
    }
    return value;
  }

  function factor(): number {
    const token = tokens[at];
    at += 1;
    if (typeof token === "object") return token.value;
    if (token === "−") return -factor();
    if (token === "(") {
      const value = sum();
      if (tokens[at] !== ")") throw new Error("a bracket is not closed");
      at += 1;
      return value;
    }
    const apply = FUNCTIONS[token ?? ""];
    if (!apply) throw new Error(`not a number, sign or function: ${token}`);
    return apply(factor());
  }
}
