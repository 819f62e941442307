import { formatNumber } from "../formatNumber";

/** A probability in a sentence: 59 %, 6.2 %, 0.4 %, 99.9 %. */
export function formatShare(probability: number): string {
  const percent = probability * 100;
  if (percent === 0) return "0 %";
  if (percent < 0.1) return "< 0.1 %";
  if (percent >= 99.95 && percent < 100) return "> 99.9 %";
  if (percent >= 10 && percent < 99) return `${Math.round(percent)} %`;
  return `${percent.toFixed(1).replace(/\.0$/, "")} %`;
}

/** How many times as likely: 329, 17, 1.8, 0.4. */
export function formatOdds(odds: number): string {
  return formatNumber(odds, odds >= 10 ? 3 : 2).replace(/\.\d+$/, (digits) => (odds >= 10 ? "" : digits));
}
