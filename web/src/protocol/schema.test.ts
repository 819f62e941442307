import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";
import { expect, test } from "vitest";

const python =
  process.env.GLASSFORMER_PYTHON ?? fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));

test("the generated types match the server's messages (else: npm run types)", async () => {
  const schema = JSON.parse(
    execFileSync(python, ["-m", "glassformer.protocol.schema"], {
      cwd: new URL("../../..", import.meta.url),
      encoding: "utf8",
    }),
  );
  const expected = astToString(
    await openapiTS(schema, {
      alphabetize: true,
      rootTypes: true,
      rootTypesNoSchemaPrefix: true,
      rootTypesKeepCasing: true,
    }),
  );
  const written = readFileSync(new URL("./schema.generated.ts", import.meta.url), "utf8");
  expect(withoutHeader(written)).toBe(withoutHeader(expected));
}, 30_000);

function withoutHeader(source: string): string {
  return source.slice(source.indexOf("export type paths")).trim();
}
