/**
 * Vendors what the dashboard's pages load besides our own script: `npm run vendor`, then commit.
 *
 * The versions are package.json's. vendor.json keeps each file's hash, which a test compares; licences come along.
 */

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, 'node_modules');
const into = resolve(here, '../collector/dashboard/static/vendor');

const FILES = {
  'htmx.org': { licence: 'LICENSE', files: ['dist/htmx.min.js', 'dist/ext/hx-csp.min.js'] },
  uplot: { licence: 'LICENSE', files: ['dist/uPlot.iife.min.js', 'dist/uPlot.min.css'] },
};

mkdirSync(into, { recursive: true });
const vendored = {};
for (const [name, { licence, files }] of Object.entries(FILES)) {
  const { version, license } = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'));
  writeFileSync(join(into, `${name}.LICENSE.txt`), readFileSync(join(modules, name, licence)));
  for (const file of files) {
    const text = readFileSync(join(modules, name, file), 'utf8').replace(/\n?\/\/# sourceMappingURL=.*\s*$/, '\n');
    const kept = file.split('/').at(-1);
    writeFileSync(join(into, kept), text);
    const integrity = `sha384-${createHash('sha384').update(text).digest('base64')}`;
    vendored[kept] = { package: name, version, license, integrity };
  }
}
writeFileSync(join(into, 'vendor.json'), JSON.stringify(vendored, null, 2) + '\n');
