import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { openStage, TAG } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

/** A site's own code as its bundler gives it out. */
const bundled = (contents) =>
  esbuild.buildSync({
    stdin: { contents, resolveDir: join(dirname(fileURLToPath(import.meta.url)), '../../npm') },
    bundle: true, minify: true, format: 'esm', write: false,
  }).outputFiles[0].text;

const run = (page, contents) => page.addScriptTag({ type: 'module', content: bundled(contents) });

test('a bundled site loads the tag and speaks its words, also before it loads', async () => {
  const page = await stage.visit('next.html');
  await run(page, `
    import { load, page, setConsent, track } from '@collector/tag';
    track('addtocart', { value: 12.5, currency: 'EUR', line_items: [{ product_id: 'p1' }] }, (sent) => (window.told = sent));
    load('${TAG}', { collector: '${stage.collectorUrl}/', external_id: 4711 });
    load('${TAG}', { collector: '${stage.collectorUrl}' }); // a component that is mounted twice
    page({ page_name: 'home' });
    setConsent(true);
  `);
  const events = await stage.eventsOf(2);
  assert.deepEqual(events.map(({ event, data }) => [event, data]), [
    ['addtocart', { value: 12.5, currency: 'EUR', line_items: [{ product_id: 'p1' }] }],
    ['pagevisit', { page_name: 'home' }],
  ]);
  assert.equal(stage.bodies()[0].tag, TAG);
  assert.deepEqual(stage.bodies()[0].user_data, { external_id: 4711 });
  await page.waitForFunction(() => window.told === true);
  assert.equal(await page.locator('script[src]').count(), 1);
  assert.deepEqual(page.errors, []);
});

test('an address that is missing, an element that is called like us, and Trusted Types do the page no harm', async () => {
  const site = (collector, body = '') => `<!doctype html>${body}<script type="module">${bundled(`
    import { load, page, track } from '@collector/tag';
    load('${TAG}', { collector: ${collector}, regime: 'opt_out' });
    page();
    document.title = 'whole';
  `)}</script>`;
  stage.own['unset.html'] = { body: site('globalThis.UNSET') };
  stage.own['element.html'] = { body: site(`'${stage.collectorUrl}'`, '<button id="collect">Click &amp; collect</button>') };
  stage.own['trusted.html'] = {
    headers: { 'Content-Security-Policy': "require-trusted-types-for 'script'" },
    body: site(`'${stage.collectorUrl}'`),
  };
  for (const name of Object.keys(stage.own)) {
    const page = await stage.visit(name);
    if (name === 'element.html') await stage.eventsOf(1);
    assert.deepEqual([await page.title(), page.errors], ['whole', []], name);
  }
});

test('beside the base code it speaks to the same tag', async () => {
  const page = await stage.visit('opt-out.html');
  await stage.eventsOf(2);
  await run(page, "import { track } from '@collector/tag'; track('lead');");
  assert.equal((await stage.eventsOf(3))[2].event, 'lead');
});
