import { expect, test } from "vitest";
import { serverAddress, socketAddress } from "./serverAddress";

test.each([
  ["http://127.0.0.1:8000/llm", "http://127.0.0.1:8000/api/live"],
  ["http://127.0.0.1:8000/llm/", "http://127.0.0.1:8000/api/live"],
  ["http://127.0.0.1:8000/llm/any/where?model=tales#here", "http://127.0.0.1:8000/api/live"],
  ["https://host.example/glass/llm/?trace=1", "https://host.example/glass/api/live"],
  ["https://hub.example/user/mia/proxy/8000/llm", "https://hub.example/user/mia/proxy/8000/api/live"],
  ["https://host.example/llmodels/llm/", "https://host.example/llmodels/api/live"],
  ["https://host.example/elsewhere", "https://host.example/api/live"],
])("the server of the page at %s", (page, address) => {
  expect(serverAddress("/api/live", page).href).toBe(address);
  expect(socketAddress("/api/live", page).href).toBe(address.replace(/^http/, "ws"));
});

test("a path keeps its query", () => {
  expect(serverAddress("/api/a%2Fb?pos=1", "http://h/x/llm/").href).toBe("http://h/x/api/a%2Fb?pos=1");
});
