/**
 * Builds what the collector serves: the tag, its immutable version, and the two snippets.
 *
 *   node build.js [DIR]    writes into DIR, by default the collector's static folder and the tables of docs/tag.md
 *
 * The same sources give the same bytes everywhere: nothing of time, place or environment goes in.
 */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { minify_sync } from 'terser';
import { fill } from './tables.js';

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

/** Made small by esbuild, then by terser: a twentieth less, gzipped, than by either. @param {string} entry */
const bundle = (entry) => {
  const { text } = esbuild.buildSync({
    ...OPTIONS,
    entryPoints: [join(here, entry)],
    absWorkingDir: here,
    bundle: true,
    format: 'iife',
    write: false,
  }).outputFiles[0];
  return minify_sync(text, TERSER).code;
};

// Properties that neither the wire, nor the page, nor storage ever sees.
const INSIDE = /^(words|heed|until|callback|permit|post|purge|unsent|honoured|tellers|eventId|pixel|own|said|given|via|ids)$/;

const TERSER = {
  ecma: 2020, // terser's name for the same
  compress: { passes: 4, unsafe_arrows: true, hoist_props: true, pure_getters: true },
  mangle: { properties: { regex: INSIDE } },
  // Chromium then compiles all of it beside the main thread, as it comes; lazily, each call would wait for its function.
  format: { ascii_only: true, preamble: '//# allFunctionsCalledOnLoad' },
};

const hash = (text) => 'sha384-' + createHash('sha384').update(text).digest('base64');

/** @returns {Record<string, string>} each file's text by its path in the static folder */
export const build = () => {
  const { version } = JSON.parse(read('package.json'));
  const tag = bundle('src/tag.js');
  const compat = bundle('compat/compat.js');
  const integrity = { ...published(), [version]: hash(tag), [`compat-${version}`]: hash(compat) };
  return {
    'tag.js': tag,
    [`tag/${version}.js`]: tag,
    'tag/compat.js': compat,
    [`tag/compat-${version}.js`]: compat,
    'tag.json': JSON.stringify({ version, integrity }, null, 2) + '\n',
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
  if (into === STATIC) fill(build());
}
