import i18next from "i18next";
import type { FrameHeader } from "./schema.generated";

/** Rows `start` to `stop` of one address, decoded from a live frame. */
export interface FrameRows {
  address: string;
  shape: number[];
  values: Float32Array;
}

export interface LiveFrame {
  traceId: string;
  start: number;
  stop: number;
  arrays: FrameRows[];
}

const LENGTH_BYTES = 4;
const FLOAT_BYTES = 4;

/** Decodes one binary frame of `/api/live` (SPEC.md, "Live frames"). Throws a RangeError on a frame that is cut short. */
export function decodeFrame(buffer: ArrayBuffer): LiveFrame {
  const headerBytes = new DataView(buffer).getUint32(0, true);
  const payloadStart = LENGTH_BYTES + headerBytes;
  if (payloadStart > buffer.byteLength) throw new RangeError(i18next.t("files.frameCutOff"));
  const header = JSON.parse(
    new TextDecoder().decode(new Uint8Array(buffer, LENGTH_BYTES, headerBytes)),
  ) as FrameHeader;
  return {
    traceId: header.trace_id,
    start: header.start,
    stop: header.stop,
    arrays: header.arrays.map(({ address, shape, offset }) => {
      const count = shape.reduce((product, size) => product * size, 1);
      return { address, shape, values: readFloats(buffer, payloadStart + offset, count) };
    }),
  };
}

/** Float32Array reads in the machine's own byte order; every browser in use is little-endian, as the wire is. */
function readFloats(buffer: ArrayBuffer, byteOffset: number, count: number): Float32Array {
  if (byteOffset + count * FLOAT_BYTES > buffer.byteLength)
    throw new RangeError(i18next.t("files.frameCutOff"));
  if (byteOffset % FLOAT_BYTES === 0) return new Float32Array(buffer, byteOffset, count);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + count * FLOAT_BYTES));
}
