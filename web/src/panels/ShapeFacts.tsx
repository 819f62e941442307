import { useTranslation } from "react-i18next";
import type { ModelShape, PartSize } from "../protocol/schema.generated";
import { nameWithSize } from "../state/nameWithSize";
import { useApp, useCommands } from "./AppContext";
import { formatBytes, formatCount, formatLarge, formatPercent } from "./formatNumber";
import { sayRuns } from "./sayRuns";

/** Bytes of one number in the formats that weights are held in; int4 with one scale for each 64 of them. */
const FORMATS = [
  ["bfloat16", 2],
  ["float32", 4],
  ["int4", 0.5 + 4 / 64],
] as const;
const CACHE_BYTES = 2;

/** In the place of the prompt where a model is drawn from its config: its parts, and the memory it would take. */
export function ShapeFacts() {
  const { t } = useTranslation();
  const shapes = useApp((state) => state.shapes);
  return (
    <div className="shape-facts" data-testid="shape-facts">
      <p className="hint">{t("shape.noWeights")}</p>
      {shapes.length > 1 && <p className="hint">{t("shape.oneScale")}</p>}
      {shapes.map((shape) => (
        <OneShape key={shape.shape_id} shape={shape} isAlone={shapes.length === 1} />
      ))}
    </div>
  );
}

function OneShape({ shape, isAlone }: { shape: ModelShape; isAlone: boolean }) {
  const { t } = useTranslation();
  const commands = useCommands();
  const { anatomy } = shape;
  const { dimensions } = anatomy;
  return (
    <section className="shape-one" aria-label={anatomy.title}>
      {!isAlone && (
        <div>
          <button
            type="button"
            className="button"
            title={t("shape.alone", { model: anatomy.title })}
            onClick={() => commands.openShapes([shape.shape_id])}
          >
            {nameWithSize(anatomy)}
          </button>
        </div>
      )}
      <p className="shape-sizes mono">
        {t("shape.sizes", {
          blocks: formatCount(dimensions.blocks),
          heads: formatCount(dimensions.heads),
          width: formatCount(dimensions.d_model),
          length: formatCount(dimensions.context),
        })}
      </p>
      {anatomy.refused && (
        <p className="hint hint-warning">{t("shape.refused", { reason: anatomy.refused })}</p>
      )}
      <table className="shape-parts">
        <caption className="visually-hidden">{t("shape.parts")}</caption>
        <thead>
          <tr>
            <th scope="col">{t("shape.part")}</th>
            <th scope="col">{t("shape.each")}</th>
            <th scope="col">{t("shape.all")}</th>
          </tr>
        </thead>
        <tbody>
          <Group label={t("shape.outside")} parts={shape.parts} count={1} total={anatomy.parameters} />
          {shape.templates.map(({ block, blocks, parts }) => (
            <Group
              key={block.index}
              label={t("shape.blocks", {
                count: blocks.length,
                kind: t(`shape.kind.${block.kind as "full"}`, { defaultValue: block.kind }),
                numbers: sayRuns(blocks),
              })}
              parts={parts}
              count={blocks.length}
              total={anatomy.parameters}
            />
          ))}
          <tr className="shape-total">
            <th scope="row">{t("shape.total")}</th>
            <td />
            <td className="mono" title={formatCount(anatomy.parameters)}>
              {formatLarge(anatomy.parameters)}
            </td>
          </tr>
        </tbody>
      </table>
      <ul className="shape-memory">
        {shape.active < anatomy.parameters && (
          <li>{t("shape.active", { number: formatLarge(shape.active) })}</li>
        )}
        <li>
          {t("shape.memory", {
            sizes: FORMATS.map(([name, size]) => `${formatBytes(anatomy.parameters * size)} ${name}`).join(
              " · ",
            ),
          })}
        </li>
        {shape.cached > 0 && (
          <li>
            {t("shape.cache", {
              each: formatBytes(shape.cached * CACHE_BYTES),
              all: formatBytes(shape.cached * CACHE_BYTES * dimensions.context),
              length: formatCount(dimensions.context),
            })}
          </li>
        )}
        {shape.latent && <li>{t("shape.latent", { each: formatBytes(shape.latent * CACHE_BYTES) })}</li>}
      </ul>
    </section>
  );
}

interface GroupProps {
  label: string;
  parts: readonly PartSize[];
  /** How many blocks have these parts each. */
  count: number;
  total: number;
}

function Group({ label, parts, count, total }: GroupProps) {
  const { t } = useTranslation();
  return (
    <>
      <tr className="shape-group">
        <th scope="colgroup" colSpan={3}>
          {label}
        </th>
      </tr>
      {parts.map((part) => {
        const all = part.parameters * count;
        return (
          <tr key={part.kind} title={formatPercent(all / total)}>
            <th scope="row">{t(`shape.name.${part.kind}`)}</th>
            <td className="mono" title={formatCount(part.parameters)}>
              {count > 1 ? formatLarge(part.parameters) : ""}
            </td>
            <td className="mono shape-share" title={formatCount(all)}>
              <span className="shape-bar" style={{ width: `${(all / total) * 100}%` }} aria-hidden="true" />
              {formatLarge(all)}
            </td>
          </tr>
        );
      })}
    </>
  );
}
