import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import * as esbuild from 'esbuild';
import { DOCUMENT } from '../../tables.js';

const text = readFileSync(DOCUMENT, 'utf8');
const examples = [...text.matchAll(/^```(\w+).*\n([^]*?)^```$/gm)].map(([, language, code]) => ({ language, code }));
const compiles = (code, loader) => esbuild.transformSync(code, { loader, jsx: 'automatic' });

test('every example of docs/tag.md compiles', () => {
  assert.ok(examples.length > 10);
  for (const { language, code } of examples)
    if (language === 'html')
      for (const [, script] of code.matchAll(/<script>([^]*?)<\/script>/g))
        compiles(script.replace(/\{\{.*?\}\}/g, '0'), 'js'); // Liquid puts a value there
    else if (language !== 'php') compiles(code, language);
});

test('every word of the package is in docs/tag.md, and every link within it leads somewhere', async () => {
  for (const word of Object.keys(await import('../../npm/index.js'))) assert.match(text, new RegExp(`\\| \`${word}\` \\|`), word);
  const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase().replace(/[^\w -]/g, '').replace(/ /g, '-'));
  for (const [, anchor] of text.matchAll(/\]\(#(.*?)\)/g)) assert.ok(anchors.includes(anchor), anchor);
});
