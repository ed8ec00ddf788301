// A marketing team moves in, as people do: Anna first. Sizes that pages show are compared with the API's.

import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { readFileSync } from 'node:fs';
import { ANNA, COLLECTOR, KEY, ROOT, launch, makeFirst, offScreen, signIn } from './room.mjs';

const { SERVER_KEY, SHOP } = process.env;
const AXE = readFileSync(new URL('../../js/node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const MOST_BYTES = 150_000; // of a page, all that it loads

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

/** A browser of its own: what it complains of, and what it asks of others than the collector. */
const enter = async (options = {}) => {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('dialog', (dialog) => wrong.push(dialog.message()));
  page.on('console', (message) => /Content Security Policy|Trusted/.test(message.text()) && wrong.push(message.text()));
  page.on('request', (request) => new URL(request.url()).origin !== COLLECTOR && wrong.push(request.url()));
  return { context, page, wrong };
};
const api = (path, key = KEY) => fetch(COLLECTOR + path, { headers: { authorization: `Bearer ${key}` } });
const audience = async (name) =>
  (await (await api('/v1/audiences')).json()).items.find((item) => item.name === name);
const row = (page, name) => page.locator('tr[data-row]', { hasText: name });

test('first run: the holder of the admin key makes the first account and sees the sizes', async () => {
  const { page, context, wrong } = await enter();
  await page.goto(ROOT);
  await page.waitForURL('**/first-run');
  await makeFirst(page);
  await page.waitForURL('**/audiences');
  for (const name of ['Left a cart', 'Buyers of half a year', 'Everybody this week']) {
    const { size } = await audience(name);
    assert.equal(await row(page, name).locator('[data-part="size"]').innerText(), String(size), name);
  }
  assert.match(await row(page, 'Watched the film').locator('.note').innerText(), /^\d+ of the 100 that ad platforms/);
  assert.deepEqual(wrong, []);
  await context.close();
});

test('a size moves while one looks, without a reload', async () => {
  const { page, context, wrong } = await enter();
  await signIn(page);
  await page.locator('.live[data-state="on"]').waitFor();
  await page.evaluate(() => (window.stayed = true));
  const before = Number(await row(page, 'Left a cart').locator('[data-part="size"]').innerText());
  const sent = await fetch(`${COLLECTOR}/v1/server/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVER_KEY}` },
    body: JSON.stringify({ tag: SHOP, visitor: 'a-new-one', events: [{ event: 'addtocart', event_time: Date.now() / 1000 - 1 }] }),
  });
  assert.equal((await sent.json()).results[0].outcome, 'accepted');
  await row(page, 'Left a cart').locator('[data-part="size"]', { hasText: new RegExp(`^${before + 1}$`) }).waitFor({ timeout: 10000 });
  assert.equal(await page.evaluate(() => window.stayed), true);
  assert.deepEqual(wrong, []);
  await context.close();
});

test('search as one types; the address keeps it', async () => {
  const { page, context, wrong } = await enter();
  await signIn(page);
  await page.locator('.live[data-state="on"]').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('cart');
  await page.waitForURL(/q=cart/);
  await row(page, 'Bought twice').waitFor({ state: 'detached' });
  const names = () => page.locator('tr[data-row] th b').allInnerTexts();
  assert.deepEqual((await names()).sort(), ['Left a cart', 'Looked at shoes, not carted']);
  await page.reload();
  assert.deepEqual((await names()).sort(), ['Left a cart', 'Looked at shoes, not carted']);
  await page.locator('select[name="sort"]').selectOption('name');
  await page.waitForURL(/sort=name/);
  await page.getByRole('searchbox').fill('zebra');
  await page.getByText('None like this').waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
});

test('a key is shown once, works, and ends', async () => {
  const { page, context, wrong } = await enter();
  await signIn(page);
  await page.getByRole('link', { name: 'API keys' }).click();
  await page.getByText('New key').click();
  await page.locator('#name').fill('reports');
  await page.getByRole('radio', { name: /marketer/ }).check();
  await page.getByRole('button', { name: 'Make the key' }).click();
  const key = await page.locator('#made').innerText();
  assert.equal((await api('/v1/audiences', key)).status, 200);
  await page.getByRole('link', { name: 'API keys' }).click();
  assert.ok(!(await page.content()).includes(key));
  const line = page.locator('tr', { hasText: 'reports' });
  await line.getByText('End', { exact: true }).click();
  await line.getByRole('button', { name: 'End it now' }).click();
  await page.getByText('The key has ended.').waitFor();
  assert.equal((await api('/v1/audiences', key)).status, 401);
  assert.equal(await page.locator('tr', { hasText: 'the admin key' }).getByText('End', { exact: true }).count(), 0);
  assert.deepEqual(wrong, []);
  await context.close();
});

test('a viewer is invited by a link that works once, and sees no more than that', async () => {
  const { page, context } = await enter();
  await signIn(page);
  await page.getByRole('link', { name: 'People' }).click();
  await page.getByText('Invite somebody').click();
  await page.locator('#name').fill('Bertil');
  await page.locator('#login').fill('bertil@marl.example');
  await page.getByRole('radio', { name: /viewer/ }).first().check();
  await page.getByRole('button', { name: 'Make the invitation' }).click();
  const link = (await page.locator('#invited').innerText()).replace(/^https?:\/\/[^/]+/, COLLECTOR);
  await context.close();

  const bertil = await enter();
  await bertil.page.goto(link);
  await bertil.page.locator('#password').fill('short');
  await bertil.page.getByRole('button', { name: 'Keep it' }).click();
  await bertil.page.getByText('At least 12 characters').waitFor();
  await bertil.page.locator('#password').fill('hej hej hallå där');
  await bertil.page.getByRole('button', { name: 'Keep it' }).click();
  await bertil.page.waitForURL('**/audiences');
  assert.deepEqual((await bertil.page.locator('.side nav a').allInnerTexts()).filter((name) => /keys|People/.test(name)), []);
  assert.equal((await bertil.page.goto(`${ROOT}/people`)).status(), 403);
  assert.equal((await bertil.page.goto(link)).status(), 410);
  assert.deepEqual(bertil.wrong, []);
  await bertil.context.close();
});

test('dark, Swedish, signed out; a wrong password says so and nothing more', async () => {
  const { page, context, wrong } = await enter();
  await signIn(page);
  await page.waitForURL('**/audiences');
  await page.locator('.me summary').click();
  await page.getByRole('button', { name: 'Dark' }).click();
  await page.waitForFunction(() => document.body && getComputedStyle(document.documentElement).colorScheme === 'dark');
  await page.locator('.me summary').click();
  await page.getByRole('button', { name: 'Svenska' }).click();
  await page.getByRole('heading', { name: 'Målgrupper' }).waitFor();
  await page.locator('.me summary').click();
  await page.getByRole('button', { name: 'Logga ut' }).click();
  await page.waitForURL('**/sign-in');
  await page.locator('#login').fill(ANNA.login);
  await page.locator('#password').fill('not this one');
  await page.getByRole('button', { name: 'Logga in', exact: true }).click();
  await page.getByRole('alert').waitFor();
  await page.goto(`${ROOT}/audiences`);
  await page.waitForURL(/sign-in/);
  assert.deepEqual(wrong, []);
  await context.close();
});

for (const [colorScheme, width] of [['light', 1360], ['dark', 390]])
  test(`nothing in the way of anybody: ${colorScheme}, ${width} wide`, async () => {
    const { page, context } = await enter({ colorScheme, viewport: { width, height: 850 }, bypassCSP: true, reducedMotion: 'reduce' });
    const check = async (path) => {
      await page.goto(ROOT + path);
      for (const summary of await page.locator('details.new > summary').all()) await summary.click();
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${path} is too wide`);
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes[0].html]), [], path);
    };
    await check('/sign-in');
    await signIn(page);
    await page.waitForURL('**/audiences');
    for (const path of ['/audiences', '/audiences?q=zebra', '/keys', '/people', '/account', '/nowhere']) await check(path);
    await context.close();
  });

for (const locale of ['en-GB', 'sv-SE'])
  test(`no pop-up leaves the screen: ${locale}`, async () => {
    const { page, context } = await enter();
    await signIn(page);
    await page.waitForURL('**/audiences');
    await page.setExtraHTTPHeaders({ 'accept-language': locale });
    const { id } = await audience('Left a cart');
    for (const [path, least] of [['/keys', 2], ['/people', 3], [`/audiences/${id}`, 2]]) {
      await page.goto(ROOT + path);
      assert.ok((await page.locator('.confirm').count()) >= least, path);
      assert.deepEqual(await offScreen(page), [], path);
    }
    await context.close();
  });

test('every page is light', async () => {
  const { page, context } = await enter();
  await signIn(page);
  await page.waitForURL('**/audiences');
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.setCacheDisabled', { cacheDisabled: true });
  let bytes = 0;
  session.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
  for (const path of ['/audiences', '/keys', '/people', '/account']) {
    bytes = 0;
    await page.goto(ROOT + path, { waitUntil: 'load' });
    console.log(`${path}: ${bytes} bytes`);
    assert.ok(bytes > 1000 && bytes < MOST_BYTES, `${path}: ${bytes}`);
  }
  await context.close();
});
