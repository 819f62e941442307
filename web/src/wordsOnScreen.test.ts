import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const SOURCE = import.meta.dirname;
/** What an explanation says is the server's, to the letter: an exported page makes the same sentences (tests/operation). */
const OF_THE_SERVER = /^data[/\\](operation[/\\]|explainCell)/;
/** Attributes of elements that are read or heard. */
const SPOKEN = new Set(["aria-label", "aria-description", "title", "placeholder", "alt", "label"]);
/** What a saved file is, `.py`, is the same in every language. */
const FILE_ENDING = /^\s*\.[a-z]+\s*$/;
/** Several words that begin with a capital and end as sentences do. */
const SENTENCE = /^[A-Z][\w'’,;:()-]*(\s+[\w'’"“”,;:()-]+)+[.?!…]$/;
/** Part of one, such as a reason: four words that stand in no code. */
const REASON = /^(?!import )[a-z]+(\s[a-z0-9-]+){3,}$/;
/** Stands for what is filled in between the words of a template. */
const FILLED = "X";
/** What only who changes the page reads: samples for tests, and parts put together wrongly. */
const FOR_AUTHORS = /^(layout[/\\]sample|state[/\\](spain|tiny)|panels[/\\]AppContext)/;

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter(
  (file) =>
    /\.tsx?$/.test(file) &&
    !/(\.test|\.generated|\.d)\.tsx?$/.test(file) &&
    !OF_THE_SERVER.test(file) &&
    !FOR_AUTHORS.test(file),
);

/** The text of a string or template; empty for anything else. */
function textOf(node: ts.Node): string {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return "";
  return [node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)].join(FILLED);
}

function isSaid(text: string): boolean {
  return SENTENCE.test(text) || REASON.test(text);
}

/** The words in a source that would stand on screen without being in the dictionary. */
function wordsOutside(file: string, text: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    // The console is read by who changes the page; what stands in <code> is typed as it is, in every language.
    if (ts.isCallExpression(node) && node.expression.getText().startsWith("console.")) return;
    if (ts.isJsxElement(node) && node.openingElement.tagName.getText() === "code") return;
    if (ts.isJsxText(node) && /\p{L}{2}/u.test(node.text) && !FILE_ENDING.test(node.text))
      found.push(node.text.trim());
    else if (ts.isJsxAttribute(node) && SPOKEN.has(node.name.getText())) {
      const value = node.initializer;
      if (value && ts.isStringLiteral(value) && /\p{L}{2}/u.test(value.text)) found.push(value.text);
    } else if (isSaid(textOf(node))) found.push(textOf(node));
    else if (ts.isNewExpression(node) && node.expression.getText().endsWith("Error")) {
      // What is thrown may be shown, however short it is.
      const [message] = node.arguments ?? [];
      if (message && /\p{L}{2}.*\s/u.test(textOf(message)) && !isSaid(textOf(message)))
        found.push(textOf(message));
    }
    ts.forEachChild(node, visit);
  };
  const kind = file.endsWith(".tsx") ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true, kind));
  return found;
}

test("no sentence on screen stands outside the dictionary", () => {
  expect(files.length).toBeGreaterThan(200);
  const outside = files.flatMap((file) =>
    wordsOutside(file, readFileSync(join(SOURCE, file), "utf8")).map((words) => `${file}: ${words}`),
  );
  expect(outside).toEqual([]);
});

test("one that does is found: in an element, in an attribute that is heard, in a string, a template and a reason", () => {
  const source = (words: string) => wordsOutside("a.tsx", words);
  expect(source("const a = <p className='quiet'>Nothing here</p>;")).toEqual(["Nothing here"]);
  expect(source('const a = <i aria-label="Close it" data-kind="weight of it" />;')).toEqual(["Close it"]);
  expect(source('throw new Error("The model is gone.");')).toEqual(["The model is gone."]);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a source that holds a template
  expect(source("throw new Error(`There is no site ${name}.`);")).toEqual(["There is no site X."]);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a source that holds a template
  expect(source("throw new MissingError(`${file} is missing`);")).toEqual(["X is missing"]);
  expect(source('const a = reason ?? "its equation does not hold";')).toEqual(["its equation does not hold"]);
  expect(source("const a = <p>{t('a.b')} · {n}</p>; const b = 'M0 1 2 3'; // A comment says this.")).toEqual(
    [],
  );
});
