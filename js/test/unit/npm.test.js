import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

const js = join(dirname(fileURLToPath(import.meta.url)), '../..');
const manifest = (path) => JSON.parse(readFileSync(join(js, path), 'utf8'));

test('the package resolves by its name, and is of the tag’s version', async () => {
  assert.equal(manifest('npm/package.json').version, manifest('package.json').version);
  // Resolved through its own `exports`, as a site's bundler does.
  const { outputFiles } = esbuild.buildSync({
    stdin: { contents: "export * from '@collector/tag'", resolveDir: join(js, 'npm') },
    bundle: true, format: 'esm', write: false,
  });
  assert.match(outputFiles[0].text, /setConsent/);
});

test('on a server importing and calling it does nothing, and does not fail', async () => {
  assert.equal(typeof window, 'undefined');
  const words = await import('../../npm/index.js');
  words.load('2612345678901', { collector: 'https://collect.shop.example' });
  words.page();
  words.track('addtocart', { value: 1 }, () => assert.fail('called'));
  words.set({ em: 'ann@shop.test' });
  words.setConsent(true);
  words.consent('update', { ad_storage: 'granted' });
  words.status(() => assert.fail('called'));
  words.debug();
  assert.deepEqual(Object.keys(words).sort(), ['consent', 'debug', 'load', 'page', 'set', 'setConsent', 'status', 'track']);
});

test('a site pays for the words that it uses', () => {
  const size = (contents) =>
    esbuild.buildSync({ stdin: { contents, resolveDir: join(js, 'npm') }, bundle: true, minify: true, format: 'esm', write: false })
      .outputFiles[0].text;
  assert.equal(size("import '@collector/tag'").trim(), '');
  assert.doesNotMatch(size("import { track } from '@collector/tag'; track('lead')"), /createElement|setconsent/);
});
