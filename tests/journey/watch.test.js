// Whoever installs the tag, answers a visitor and is woken at night: each page's main act, done in a browser.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test, { after, before } from 'node:test';
import { readFileSync } from 'node:fs';
import { COLLECTOR, KEY, ROOT, launch, makeFirst, offScreen } from './room.mjs';

const { SHOP, DEAD } = process.env;
const AXE = readFileSync(new URL('../../js/node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const MOST_BYTES = 150_000;
const NASTY = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}';
const GRANTED = { ad_storage: 'granted', ad_user_data: 'granted', ad_personalization: 'granted' };

let browser, context, page;
const wrong = [];
before(async () => {
  browser = await launch();
  context = await browser.newContext({ locale: 'en-GB', permissions: ['clipboard-read', 'clipboard-write'] });
  page = await context.newPage();
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('dialog', (dialog) => wrong.push(dialog.message()));
  page.on('console', (message) => /Content Security Policy|Trusted|hx-csp/.test(message.text()) && wrong.push(message.text()));
  page.on('request', (request) => new URL(request.url()).origin !== COLLECTOR && wrong.push(request.url()));
  await makeFirst(page);
  await page.waitForURL('**/audiences');
});
after(() => browser.close());

const api = async (path) => (await fetch(COLLECTOR + path, { headers: { authorization: `Bearer ${KEY}` } })).json();
const send = (tag, event, { origin = 'https://kok.example', consent = GRANTED, visitor = 'a'.repeat(32), headers = {}, data = {} } = {}) =>
  fetch(`${COLLECTOR}/v1/events`, {
    method: 'POST',
    headers: { origin, 'content-type': 'text/plain', 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0', ...headers },
    body: JSON.stringify({ tag, visitor, sent_at: Date.now(), consent, events: [{ event, event_time: Date.now() / 1000, url: `${origin}/`, data }] }),
  });
const line = (text) => page.locator('#feed tbody tr', { hasText: text });

test('a tag is made, its snippet pasted, and the first events come in while one looks', async () => {
  await page.getByRole('link', { name: 'Tags', exact: true }).click();
  await page.getByText('New tag').click();
  await page.getByLabel('Website').fill(`Kök ${NASTY}`);
  await page.locator('#origins').fill('https://kok.example');
  await page.getByRole('button', { name: 'Make the tag' }).click();
  await page.getByText('The tag is made').waitFor();
  const made = (await api('/v1/tags')).items.find((tag) => tag.origins.includes('https://kok.example'));
  assert.equal(made.name, `Kök ${NASTY}`);
  await page.goto(`${ROOT}/tags/${made.tag}`);
  await page.getByText('waiting for the first event').waitFor();
  await page.getByText('Pinned to this version').click();
  await page.locator('[data-copy="pinned"]').click();
  const pinned = await page.evaluate(() => navigator.clipboard.readText());
  const [, path, integrity] = /src="[^"]*(\/tag\/[^"]+\.js)"[^>]*integrity="sha384-([^"]+)"/.exec(pinned) ?? /(\/tag\/[^"']+\.js).*sha384-([A-Za-z0-9+/=]+)/s.exec(pinned);
  const file = Buffer.from(await (await fetch(COLLECTOR + path)).arrayBuffer());
  assert.equal(createHash('sha384').update(file).digest('base64'), integrity);
  assert.ok(pinned.includes(made.tag));

  await page.evaluate(() => (window.stayed = true));
  assert.equal((await send(made.tag, 'addtocart', { data: { product_name: NASTY, value: '12.50' } })).status, 200);
  await line('addtocart').waitFor({ timeout: 10_000 });
  await page.locator('#check').getByText('Events come, but no page visit').waitFor({ timeout: 15_000 });
  await send(made.tag, 'pagevisit');
  await send(made.tag, 'told-by-none', { consent: { ...GRANTED, ad_storage: 'denied' } });
  await send(made.tag, 'checkout', { origin: 'https://evil.example' });
  await line('consent_denied').waitFor({ timeout: 10_000 });
  await line('https://evil.example').waitFor({ timeout: 10_000 });
  assert.equal(await line('told-by-none').count(), 0);
  await page.locator('#check [data-code="no_pagevisit"]').waitFor({ state: 'detached', timeout: 15_000 });
  await page.locator('#check [data-code="origin"]').waitFor();
  assert.equal(await page.evaluate(() => window.stayed), true);
  assert.ok(!(await page.content()).includes('a'.repeat(32)));

  await page.locator('select[name="outcome"]').selectOption('refused');
  await page.waitForURL(/outcome=refused/);
  await line('addtocart').waitFor({ state: 'detached' });
  await page.getByRole('link', { name: 'Pause' }).click();
  await page.getByRole('link', { name: 'Go on' }).waitFor();
  const held = await page.locator('#feed').innerText();
  await send(made.tag, 'search', { consent: { ...GRANTED, ad_storage: 'denied' } });
  await page.waitForTimeout(3_500);
  assert.equal(await page.locator('#feed').innerText(), held);
  await page.goto(`${ROOT}/tags/${made.tag}`);
  await line('addtocart').getByRole('link', { name: 'Inspect' }).click();
  assert.match(await page.locator('.facts').innerText(), /data\.value\s+12\.5/);
  assert.ok((await page.locator('.facts').innerText()).includes(NASTY));
  assert.deepEqual(wrong, []);
});

test('a visitor is looked up and forgotten; the audience is one less, and the proof comes by itself', async () => {
  const who = 'c'.repeat(32);
  const { items } = await api('/v1/audiences');
  const { id } = items.find((item) => item.name === 'Left a cart');
  const size = async () => (await api(`/v1/audiences/${id}/size`)).size;
  const until = async (wanted) => {
    for (let i = 0; i < 50 && (await size()) !== wanted; i++) await new Promise((go) => setTimeout(go, 200));
    assert.equal(await size(), wanted);
  };
  const before = items.find((item) => item.id === id).size;
  await send(SHOP, 'addtocart', { origin: 'https://marl.example', visitor: who });
  await send(SHOP, 'pagevisit', { origin: 'https://marl.example', visitor: 'd'.repeat(32), headers: { 'sec-gpc': '1' } });
  await until(before + 1);
  await page.goto(`${ROOT}/privacy?tag=${SHOP}`);
  assert.equal((await page.locator('[data-gpc]').innerText()).split('\n')[0], '1');
  await page.getByLabel('Visitor', { exact: true }).fill(who);
  await page.getByRole('button', { name: 'Look up' }).click();
  await page.getByRole('heading', { name: 'A visitor' }).waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as JSON' }).click()]);
  const told = JSON.parse(readFileSync(await download.path(), 'utf8'));
  assert.deepEqual(told.events.map(({ event }) => event), ['addtocart']);
  assert.deepEqual(await offScreen(page), []);
  await page.getByText('Forget this visitor').click();
  await page.getByText('This cannot be taken back.').waitFor();
  await page.getByLabel('Clean the files without delay').check();
  await page.getByRole('button', { name: 'Forget now' }).click();
  await page.getByText('no audience counts the visitor').waitFor();
  await until(before);
  await page.locator('#erasures').getByText('proven').waitFor({ timeout: 30_000 });
  await page.locator('select[name="tag"]').selectOption({ label: 'Marl Magazine' });
  await page.waitForURL((url) => !url.search.includes(SHOP));
  await page.getByText('Nothing has come in the last week.').waitFor();
  await page.getByRole('link', { name: 'Who did what' }).click();
  await page.locator('tr', { hasText: 'erased a visitor' }).waitFor();
  assert.ok(!(await page.content()).includes(who));
  assert.deepEqual(wrong, []);
});

test('a dead letter is retried, and one sees how it is', async () => {
  await page.goto(`${ROOT}/operations`);
  await page.locator('#letters').getByText(DEAD).waitFor();
  assert.match(await page.locator('.tile', { hasText: 'Event to size' }).innerText(), /\d s/);
  await page.locator('.facts').getByText('well').waitFor();
  await page.getByRole('button', { name: 'Retry', exact: true }).click();
  await page.getByText('They are in their streams again').waitFor();
  await page.locator('#letters').getByText('None: every event').waitFor();
  assert.deepEqual(wrong, []);
});

test('every page is light, and in nobody\'s way', async () => {
  const state = await context.storageState();
  const paths = ['/tags', `/tags/${SHOP}`, `/privacy?tag=${SHOP}`, '/privacy/log', '/operations'];
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.setCacheDisabled', { cacheDisabled: true });
  let bytes = 0;
  session.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
  for (const path of paths) {
    bytes = 0;
    await page.goto(ROOT + path, { waitUntil: 'load' });
    console.log(`${path}: ${bytes} bytes`);
    assert.ok(bytes > 1000 && bytes < MOST_BYTES, `${path}: ${bytes}`);
  }
  for (const [colorScheme, width] of [['light', 1360], ['dark', 390]]) {
    const other = await browser.newContext({ storageState: state, colorScheme, viewport: { width, height: 850 }, bypassCSP: true, reducedMotion: 'reduce' });
    const view = await other.newPage();
    for (const path of paths) {
      await view.goto(ROOT + path);
      for (const summary of await view.locator('details.new > summary').all()) await summary.click();
      assert.ok(await view.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${path} is too wide at ${width}`);
      await view.evaluate(AXE);
      const { violations } = await view.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes[0].html]), [], path);
    }
    await other.close();
  }
});
