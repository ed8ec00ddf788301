/**
 * Builds what the collector serves: the tag, its immutable version, and the two snippets.
 *
 *   node build.js [DIR]    writes into DIR, by default the collector's static folder
 *
 * The same sources give the same bytes everywhere: nothing of time, place or environment goes in.
 */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const read = (path) => readFileSync(join(here, path), 'utf8');

export const STATIC = resolve(here, '../collector/ingest/static');

const OPTIONS = {
  minify: true,
  target: 'es2021', // the browsers since 2020: what they all run needs no longer spelling
  charset: 'ascii',
  tsconfigRaw: '{}',
  legalComments: 'none',
};

/** @returns {Record<string, string>} each file's text by its path in the static folder */
export const build = () => {
  const { version } = JSON.parse(read('package.json'));
  const [{ text: tag }] = esbuild.buildSync({
    ...OPTIONS,
    entryPoints: [join(here, 'src/tag.js')],
    absWorkingDir: here,
    bundle: true,
    format: 'iife',
    write: false,
  }).outputFiles;
  const integrity = 'sha384-' + createHash('sha384').update(tag).digest('base64');
  return {
    'tag.js': tag,
    [`tag/${version}.js`]: tag,
    'tag.json': JSON.stringify({ version, integrity: { ...published(), [version]: integrity } }, null, 2) + '\n',
    'snippet.html': snippet(false),
    'snippet.pinned.html': snippet(true),
  };
};

/** The hashes of the versions that pages have pinned already; they are served for ever. */
const published = () => {
  const path = join(STATIC, 'tag.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).integrity : {};
};

/** @param {boolean} pinned */
const snippet = (pinned) => {
  const base = esbuild.transformSync(read('snippet/base.js'), {
    ...OPTIONS,
    ...(pinned ? {} : { dropLabels: ['PIN'] }),
  });
  return read('snippet/snippet.html').replace('{{base}}', () => base.code.trim());
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const into = process.argv[2] ? resolve(process.argv[2]) : STATIC;
  for (const [path, text] of Object.entries(build())) {
    mkdirSync(dirname(join(into, path)), { recursive: true });
    writeFileSync(join(into, path), text);
  }
}
