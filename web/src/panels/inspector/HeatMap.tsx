import { type KeyboardEvent, type PointerEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { ColourScale } from "../colourScale";
import { formatNumber } from "../formatNumber";
import { Icon } from "../Icon";
import { drawHeatMap } from "./drawHeatMap";
import { cellAtPoint, layOutHeatMap, type PlaneCell, scrollTo } from "./heatMapGeometry";
import { isMaskedAt, type Plane, valueAt } from "./planeOf";

interface HeatMapProps extends ColourScale {
  address: string;
  plane: Plane;
  selected: PlaneCell;
  rowLabel(row: number): string;
  columnLabel(column: number): string;
  onSelect(cell: PlaneCell): void;
  onHover(cell: PlaneCell | null): void;
}

const ZOOM_STEP = 1.5;
const LARGEST_ZOOM = 32;
const PAGE_CELLS = 10;
const TALLEST_PX = 380;

/** A matrix as a crisp picture with a movable cell. The canvas is as large as the view; the matrix scrolls behind it. */
export function HeatMap(props: HeatMapProps) {
  const { address, plane, selected, onSelect, onHover } = props;
  const { t } = useTranslation();
  const scrollerRef = useRef<HTMLDivElement>(null);
  const canvasRef = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [zoom, setZoom] = useState(1);
  const [hovered, setHovered] = useState<PlaneCell | null>(null);
  const geometry = layOutHeatMap(plane, width, zoom);
  const height = Math.min(geometry.totalHeight + 2, TALLEST_PX);

  useLayoutEffect(() => {
    const scroller = scrollerRef.current;
    if (!scroller) return;
    // The observer speaks with the next frame, which may be long in coming while the scene draws.
    setWidth(scroller.clientWidth);
    const observer = new ResizeObserver(() => setWidth(scroller.clientWidth));
    observer.observe(scroller);
    return () => observer.disconnect();
  }, []);

  const draw = () => {
    const scroller = scrollerRef.current;
    const canvas = canvasRef.current;
    const context = canvas?.getContext("2d");
    if (!scroller || !canvas || !context || width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const view = { width, height, left: scroller.scrollLeft, top: scroller.scrollTop };
    drawHeatMap(context, { ...props, geometry, hovered }, view);
  };

  useLayoutEffect(draw);

  // The selected cell may change from outside, as when an operand is followed.
  useEffect(() => {
    const scroller = scrollerRef.current;
    if (!scroller || width === 0) return;
    const target = layOutHeatMap(plane, width, zoom);
    const { left, top } = scrollTo(
      target,
      { row: selected.row, column: selected.column },
      {
        width,
        height: scroller.clientHeight,
        left: scroller.scrollLeft,
        top: scroller.scrollTop,
      },
    );
    scroller.scrollTo({ left, top });
  }, [plane, width, zoom, selected.row, selected.column]);

  const pointed = (event: PointerEvent): PlaneCell | null => {
    const scroller = scrollerRef.current;
    if (!scroller) return null;
    const box = scroller.getBoundingClientRect();
    const scroll = { left: scroller.scrollLeft, top: scroller.scrollTop };
    // Large type enlarges the panel, but not the pixels that a pointer counts in.
    const scale = box.width / scroller.offsetWidth || 1;
    const at = { x: (event.clientX - box.left) / scale, y: (event.clientY - box.top) / scale };
    return cellAtPoint(geometry, plane, at, scroll);
  };
  const hover = (cell: PlaneCell | null) => {
    if (cell?.row === hovered?.row && cell?.column === hovered?.column) return;
    setHovered(cell);
    onHover(cell);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const moved = moveCell(event, selected, plane);
    if (!moved) return;
    event.preventDefault();
    onSelect(moved);
  };

  return (
    <div className="heat-map">
      <div
        ref={scrollerRef}
        className="heat-map-scroller"
        data-testid="inspector-heatmap"
        role="application"
        aria-label={t("inspector.heatMap", { address })}
        aria-description={t("inspector.heatMapHint")}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys move the selected cell
        tabIndex={0}
        style={{ height }}
        onScroll={draw}
        onKeyDown={onKeyDown}
        onPointerMove={(event) => hover(pointed(event))}
        onPointerLeave={() => hover(null)}
        onClick={(event) => {
          const cell = pointed(event as unknown as PointerEvent);
          if (cell) onSelect(cell);
        }}
      >
        <div style={{ width: geometry.totalWidth, height: geometry.totalHeight }}>
          <canvas ref={canvasRef} className="heat-map-canvas" style={{ width, height }} />
        </div>
      </div>
      <div className="heat-map-foot">
        <p className="heat-map-readout">
          {hovered ? (
            <Readout {...props} cell={hovered} />
          ) : (
            <span className="quiet">{t("inspector.heatMapHint")}</span>
          )}
        </p>
        <button
          type="button"
          className="icon-button"
          aria-label={t("inspector.zoomOut")}
          title={t("inspector.zoomOut")}
          disabled={zoom <= 1}
          onClick={() => setZoom(Math.max(1, zoom / ZOOM_STEP))}
        >
          <Icon name="minus" />
        </button>
        <button
          type="button"
          className="icon-button"
          aria-label={t("inspector.zoomIn")}
          title={t("inspector.zoomIn")}
          disabled={zoom >= LARGEST_ZOOM}
          onClick={() => setZoom(zoom * ZOOM_STEP)}
        >
          <Icon name="plus" />
        </button>
      </div>
    </div>
  );
}

/** What the pointer is on in the heat map. */
function Readout({ plane, cell, rowLabel, columnLabel }: HeatMapProps & { cell: PlaneCell }) {
  const { t } = useTranslation();
  const nameAxis = (axis: string) => t(`axes.${axis}` as "axes.head");
  const value = formatNumber(valueAt(plane, cell.row, cell.column));
  const side = plane.cellsPerSide;
  const said = side > 1 ? t("hover.pool", { rows: plane.rowAxis ? side : 1, columns: side, value }) : value;
  return (
    <>
      {plane.rowAxis !== null && (
        <>
          <span className="quiet">{nameAxis(plane.rowAxis)}</span>{" "}
          <b className="mono">{rowLabel(cell.row)}</b>{" "}
        </>
      )}
      <span className="quiet">{nameAxis(plane.columnAxis)}</span>{" "}
      <b className="mono">{columnLabel(cell.column)}</b>
      <output className="mono">{isMaskedAt(plane, cell.row, cell.column) ? t("hover.masked") : said}</output>
    </>
  );
}

function moveCell(event: KeyboardEvent, { row, column }: PlaneCell, plane: Plane): PlaneCell | null {
  const step = event.shiftKey ? PAGE_CELLS : 1;
  const moves: Record<string, PlaneCell> = {
    ArrowUp: { row: row - step, column },
    ArrowDown: { row: row + step, column },
    ArrowLeft: { row, column: column - step },
    ArrowRight: { row, column: column + step },
    PageUp: { row: row - PAGE_CELLS, column },
    PageDown: { row: row + PAGE_CELLS, column },
    Home: { row: event.ctrlKey ? 0 : row, column: 0 },
    End: { row: event.ctrlKey ? plane.rows - 1 : row, column: plane.columns - 1 },
  };
  const target = moves[event.key];
  if (!target) return null;
  return {
    row: Math.min(Math.max(target.row, 0), plane.rows - 1),
    column: Math.min(Math.max(target.column, 0), plane.columns - 1),
  };
}
