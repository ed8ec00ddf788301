import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { build, STATIC } from '../../build.js';
import { DOCUMENT, filled } from '../../tables.js';

const { budgets } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
const committed = (path) => readFileSync(join(STATIC, path), 'utf8');

test('what is committed is what the sources build (else: npm run build)', () => {
  for (const [path, text] of Object.entries(build())) assert.equal(committed(path), text, path);
});

test('the tag and the snippet stay within their budgets, gzipped', () => {
  for (const [path, budget] of Object.entries(budgets)) {
    const text = committed(path).replace(/<noscript>.*<\/noscript>/, '');
    const size = gzipSync(text, { level: 9 }).length;
    assert.ok(size <= budget, `${path}: ${size} bytes of ${budget}`);
  }
});

test('every version that a page may have pinned is there, unchanged', () => {
  const { version, integrity } = JSON.parse(committed('tag.json'));
  assert.deepEqual(readdirSync(join(STATIC, 'tag')).sort(), [...Object.keys(integrity), 'compat'].map((name) => `${name}.js`).sort());
  for (const [name, hash] of Object.entries(integrity))
    assert.equal('sha384-' + createHash('sha384').update(committed(`tag/${name}.js`)).digest('base64'), hash);
  assert.equal(committed('tag.js'), committed(`tag/${version}.js`));
  assert.equal(committed('tag/compat.js'), committed(`tag/compat-${version}.js`));
});

test('the snippets leave exactly their placeholders open', () => {
  const open = (path) => [...new Set(committed(path).match(/\{\{.*?\}\}/g))].sort();
  assert.deepEqual(open('snippet.html'), ['{{collector}}', '{{regime}}', '{{script}}', '{{tag}}', '{{vendor}}']);
  assert.deepEqual(open('snippet.pinned.html'), [
    '{{collector}}', '{{integrity}}', '{{regime}}', '{{script}}', '{{tag}}', '{{vendor}}',
  ]);
});

test('the tables of docs/tag.md are those of the build (else: npm run build)', () => {
  assert.equal(readFileSync(DOCUMENT, 'utf8'), filled(build()));
});
