import { partName } from "../../layout/partName";
import type { Effects, Reading } from "../../protocol/schema.generated";
import { effectsOf, mostRead, worthOf } from "../../state/whatMattered";
import { formatNumber } from "../formatNumber";
import type { OutlineNode } from "../outlineNodes";
import { formatShare } from "./formatShare";
import { plainText } from "./phrase";
import { sayPart, sayRead, type Telling } from "./sayDecision";
import { sayInstead, sayWord } from "./sayWord";

/** Of a thousand heads the outline lists those that are worth most. */
const MOST_LISTED = 40;
/** Before the names of parts and boundaries, so that no id is that of a site or a weight. */
const PART = "part:";
const BOUNDARY = "boundary:";

/**
 * What the far view shows, in words: the word at each depth, what hiding each word of the text does, what switching each
 * part off does, and what each adds. `off` are the parts that are switched off.
 */
export function readingOutline(
  reading: Reading,
  effects: Effects | null,
  off: readonly string[],
  telling: Telling,
): OutlineNode {
  const { t, specialIds } = telling;
  const own = effectsOf(reading, effects);
  const instead = (word: Reading["token"]) => sayInstead(word, reading.token, t, specialIds);
  const named = (name: string) => {
    const part = plainText(sayPart(name, telling));
    return off.includes(name) ? t("reading.outline.off", { part }) : part;
  };
  const words = reading.lens.map(({ boundary, tokens: [word], chosen }) => {
    const shares = {
      share: formatShare(word?.probability ?? 0),
      word: word ? instead(word) : "",
      chosen: sayWord(reading.token, t, specialIds),
      chosenShare: formatShare(chosen),
    };
    const key = boundary === 0 ? "start" : word?.id === reading.token.id ? "leads" : "depth";
    return leaf(BOUNDARY + boundary, t(`reading.outline.${key}`, { block: boundary - 1, ...shares }));
  });
  const tested = own ? own.parts.toSorted((one, other) => worthOf(other, own) - worthOf(one, own)) : [];
  const worth = tested.map((effect) => {
    const name = partName(effect);
    const reads = effect.kind === "head" ? mostRead(reading, effect.block ?? 0, effect.head ?? 0) : null;
    const part = reads
      ? t("reading.outline.reads", { part: named(name), ...sayRead(reads, telling) })
      : named(name);
    const share = formatShare(effect.probability);
    const isSame = effect.token.id === own?.base.token.id;
    const label = t(isSame ? "reading.outline.still" : "reading.outline.says", {
      part,
      share,
      word: instead(effect.token),
    });
    return { isWord: effect.kind === "token", node: leaf(PART + name, label) };
  });
  const adds = reading.parts
    .toSorted((one, other) => Math.abs(other.value) - Math.abs(one.value))
    .slice(0, MOST_LISTED)
    .map((part) => {
      const name = part.kind === "embedding" || part.kind === "bias" ? null : partName(part);
      const said = name === null ? t(`reading.parts.${part.kind as "embedding"}`) : named(name);
      const value = formatNumber(part.value, 2);
      return leaf(`adds:${partName(part)}`, t("reading.outline.adds", { part: said, value }));
    });
  const listed = (isWord: boolean) =>
    worth.flatMap((each) => (each.isWord === isWord ? [each.node] : [])).slice(0, MOST_LISTED);
  return group("reading", t("reading.title"), [
    group("reading.words", t("reading.outline.words"), words),
    group("reading.text", t("reading.outline.text"), listed(true)),
    group("reading.worth", t("reading.outline.worth"), listed(false)),
    group("reading.adds", t("reading.outline.added"), adds),
  ]);
}

/** The part that a leaf stands for, to be switched off; null for any other node. */
export function partOfNode(id: string): string | null {
  return id.startsWith(PART) ? id.slice(PART.length) : null;
}

/** The boundary that a leaf stands for; null for any other node. */
export function boundaryOfNode(id: string): number | null {
  return id.startsWith(BOUNDARY) ? Number(id.slice(BOUNDARY.length)) : null;
}

function leaf(id: string, label: string): OutlineNode {
  return { id, kind: "told", label, extent: [], refused: false, children: [] };
}

function group(id: string, label: string, children: OutlineNode[]): OutlineNode {
  return { ...leaf(id, label), children };
}
