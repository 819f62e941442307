import { type RefObject, useLayoutEffect, useRef, useState } from "react";

interface Canvas {
  ref: RefObject<HTMLCanvasElement | null>;
  /** CSS pixels; 0 until the canvas has been measured. */
  width: number;
}

/** A canvas as wide as its place and so many CSS pixels high, drawn anew with every render. */
export function useCanvas(
  heightOf: (width: number) => number,
  draw: (context: CanvasRenderingContext2D, width: number) => void,
): Canvas {
  const ref = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const place = ref.current?.parentElement;
    if (!place) return;
    setWidth(place.clientWidth);
    const observer = new ResizeObserver(() => setWidth(place.clientWidth));
    observer.observe(place);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    const canvas = ref.current;
    const context = canvas?.getContext("2d");
    if (!canvas || !context || width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    const height = heightOf(width);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    draw(context, width);
  });
  return { ref, width };
}
