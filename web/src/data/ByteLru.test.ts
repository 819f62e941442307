import { expect, test } from "vitest";
import { ByteLru } from "./ByteLru";

test("the least recently used values go first, the newest always stays", () => {
  const lru = new ByteLru<string>(10, (value) => value.length);
  lru.set("a", "aaaa");
  lru.set("b", "bbbb");
  lru.get("a");
  lru.set("c", "cccc");
  expect([lru.get("a"), lru.get("b"), lru.get("c")]).toEqual(["aaaa", undefined, "cccc"]);
  lru.set("d", "d".repeat(50));
  expect([lru.get("a"), lru.get("c"), lru.get("d")?.length]).toEqual([undefined, undefined, 50]);
  expect(lru.usedBytes).toBe(50);
  lru.set("d", "dd");
  expect(lru.usedBytes).toBe(2);
});
