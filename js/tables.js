/** The tables of docs/tag.md that the build knows: sizes, and each version with its hash. */

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
export const DOCUMENT = join(here, '../docs/tag.md');

const WHAT = { 'snippet.html': 'base code, without its `noscript`', 'tag.js': '`/tag.js`', 'tag/compat.js': '`/tag/compat.js`' };

/** What a page pays. @param {string} text */
export const gzipped = (text) => gzipSync(text.replace(/<noscript>.*<\/noscript>/, ''), { level: 9 }).length;

/** @param {string[][]} rows @param {string[]} head */
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const number = (/** @type {number} */ value) => String(value).replace(/(\d)(?=(\d{3})+$)/g, '$1,');

/** @param {Record<string, string>} files as build() gives them @returns {Record<string, string>} by the table's name */
const tables = (files) => {
  const { budgets } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
  const sizes = Object.keys(WHAT).map((path) => [WHAT[path], number(gzipped(files[path])), number(budgets[path])]);
  const { integrity } = JSON.parse(files['tag.json']);
  return {
    sizes: table(['', 'Bytes, gzipped', 'Budget'], sizes),
    versions: table(['Path', 'Integrity'], Object.entries(integrity).map(([name, hash]) => [`\`/tag/${name}.js\``, `\`${hash}\``])),
  };
};

/** @param {string} text @param {string} name @param {string} rows */
const put = (text, name, rows) =>
  text.replace(new RegExp(`(<!-- ${name}: .* -->\n)[^]*?(?=<!-- end -->)`), (_, mark) => `${mark}\n${rows}\n\n`);

/** The document with the build's tables as they are to be. @param {Record<string, string>} files */
export const filled = (files) =>
  Object.entries(tables(files)).reduce((text, [name, rows]) => put(text, name, rows), readFileSync(DOCUMENT, 'utf8'));

/** @param {Record<string, string>} files */
export const fill = (files) => writeFileSync(DOCUMENT, filled(files));

/** @param {string[][]} costs of what, its milliseconds as measured, and on a processor that much slower */
export const fillCosts = (costs) =>
  writeFileSync(DOCUMENT, put(readFileSync(DOCUMENT, 'utf8'), 'cost', table(['', 'Milliseconds', 'four times slower'], costs)));
