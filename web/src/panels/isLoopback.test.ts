import { expect, test } from "vitest";
import { isLoopback } from "./isLoopback";

test.each(["localhost", "LOCALHOST", "glass.localhost", "127.0.0.1", "127.1.2.3", "[::1]", "::1"])(
  "%s is this computer",
  (host) => expect(isLoopback(host)).toBe(true),
);

test.each(["glass.example.org", "192.168.0.7", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1"])(
  "%s is another",
  (host) => expect(isLoopback(host)).toBe(false),
);
