import { expect, test } from "vitest";
import { plainToken, splitToken } from "./splitToken";

const token = (text: string) => ({ id: 1, text, special: false });

test("white space becomes visible", () => {
  expect(splitToken(token(" the"))).toEqual([
    { kind: "mark", text: "·" },
    { kind: "text", text: "the" },
  ]);
  expect(plainToken(token("\n\n\t"))).toBe("⏎⏎⇥");
  expect(plainToken(token("\u0000a\u001b"))).toBe("\\x00a\\x1b");
});

test("a part of a character is named a byte, an empty text is shown as such", () => {
  expect(splitToken(token("\ufffd\ufffd")).map((part) => part.kind)).toEqual(["byte", "byte"]);
  const partial = { ...token("\ufffd"), bytes: [0xf0, 0x9f] };
  expect(splitToken(partial)).toEqual([
    { kind: "byte", text: "\\xf0" },
    { kind: "byte", text: "\\x9f" },
  ]);
  expect(plainToken(partial)).toBe("\\xf0\\x9f");
  expect(plainToken({ ...token(" é\ufffd"), bytes: [0x20, 0xc3, 0xa9, 0xe6] })).toBe("·é\\xe6");
  expect(plainToken(token("a\ufffd"))).toBe("a\ufffd");
  expect(plainToken(token(""))).toBe("∅");
  expect(plainToken(token("日本🙂"))).toBe("日本🙂");
});
