// A visitor walks through the demo shop in a real browser. Sizes are the API's, not the panel's, unless it says so.

import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { createRequire } from 'node:module';

const { chromium } = createRequire(new URL('../../js/package.json', import.meta.url))('playwright-core');
const { SHOP, COLLECTOR, KEY } = process.env;
// Headless Chromium names itself so, and the bot filter does its work.
const AGENT = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';
const PATIENCE = 15000;

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
  // The simulated shoppers go home, so that every step of a size is this visitor's.
  const { page } = await enter();
  assert.match(await page.locator('#crowd').innerText(), /Simulated shoppers/);
  await page.locator('#crowd input:enabled').waitFor({ state: 'attached' });
  await page.locator('#crowd .track').click();
  await until(async () => !(await state()).shoppers.on, 'the shoppers to stop');
  await until(async () => (await settled()) !== undefined, 'the sizes to rest');
  await page.context().close();
});
after(() => browser.close());

const until = async (ready, what) => {
  for (const end = Date.now() + PATIENCE; !(await ready()); await new Promise((done) => setTimeout(done, 100)))
    if (Date.now() > end) throw new Error(`no ${what} within ${PATIENCE} ms`);
};
const state = async () => (await fetch(`${SHOP}/panel/state`)).json();
const ask = async (path) => {
  const answer = await fetch(COLLECTOR + path, { headers: { authorization: `Bearer ${KEY}` } });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
};
const audience = async (name) => (await ask('/v1/audiences')).items.find((item) => item.name === name);
const size = async (name = 'Left a cart') => (await audience(name)).size;
/** The size of «Left a cart» once it is known and does not move any more. */
const settled = async () => {
  const first = await size();
  await new Promise((done) => setTimeout(done, 1500));
  return first !== null && first === (await size()) ? first : undefined;
};

/** A new visitor before the shop. `sent` are the requests to the collector but for its script. */
const enter = async () => {
  const context = await browser.newContext({ userAgent: AGENT });
  const page = await context.newPage();
  const sent = [];
  const foreign = [];
  const errors = [];
  page.on('request', (request) => {
    const { origin, pathname } = new URL(request.url());
    if (origin === COLLECTOR && pathname !== '/tag.js') sent.push(pathname);
    if (![COLLECTOR, SHOP].includes(origin)) foreign.push(request.url());
  });
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(SHOP);
  const shop = page.frameLocator('#shop');
  await shop.locator('#banner').waitFor();
  const at = (path) => until(() => page.frames().some((frame) => new URL(frame.url()).pathname === path), path);
  return {
    page,
    shop,
    sent,
    foreign,
    errors,
    at,
    stored: async () => ({
      cookies: (await context.cookies()).map(({ name }) => name),
      storage: await page.evaluate(() => Object.keys(localStorage).sort()),
    }),
    visitor: async () => (await context.cookies()).find(({ name }) => name === '_collector_id')?.value,
    /** Opens a product and puts it in the cart. */
    async cart(name) {
      await shop.locator('.grid a', { hasText: name }).first().click();
      await shop.locator('[data-add]').click();
      await shop.locator('.bag b', { hasText: /[1-9]/ }).waitFor();
    },
    async checkout() {
      await shop.locator('.bag').click();
      await shop.getByText('Check out').click();
      await shop.getByText('Place the order').click();
      await at('/shop/thanks');
    },
    mood: (text) => page.locator('#mood', { hasText: text }).waitFor(),
    log: (text) => page.locator('#log li', { hasText: text }).first().waitFor(),
  };
};

test('before an answer everything is held: nothing is sent, nothing is stored', async () => {
  const { page, sent, stored, mood, log, foreign, errors } = await enter();
  await mood('holding');
  await log('held until consent');
  assert.deepEqual(sent, []);
  assert.deepEqual(await stored(), { cookies: [], storage: [] });
  assert.deepEqual([foreign, errors], [[], []]);
  await page.context().close();
});

test('a refusal: a whole purchase sends nothing, keeps no id, moves no audience', async () => {
  const before = await size();
  const { page, shop, sent, stored, cart, checkout, log, mood, errors } = await enter();
  await shop.locator('[data-refuse]').click();
  await mood('silent');
  await log('consent was refused');
  await cart('Harbour Runner');
  // The answer itself is kept, so that nobody is asked twice, and the cart that the visitor filled.
  assert.deepEqual(await stored(), { cookies: [], storage: ['shop.cart', 'shop.choice'] });
  await checkout();
  await shop.getByText('is on its way').waitFor();
  assert.deepEqual(sent, []);
  assert.deepEqual((await stored()).cookies, []);
  assert.equal(await settled(), before);
  assert.deepEqual(errors, []);
  await page.context().close();
});

test('accept, cart, audience +1, checkout, audience −1, withdraw, gone', async () => {
  const before = await size();
  const { page, shop, sent, stored, visitor, cart, checkout, log, mood, at, errors, foreign } = await enter();
  await shop.locator('[data-accept]').click();
  await mood('consent given');
  await log('stored, counts in audiences'); // what was held before the answer
  const id = await visitor();
  assert.match(id, /^[0-9a-f]{32}$/);

  await cart('Moss Boot');
  await until(async () => (await size()) === before + 1, 'one more in «Left a cart»');
  const mine = page.locator('#audiences .mine', { hasText: 'Left a cart' });
  await mine.waitFor(); // the panel says: you are in it
  await page.locator('#audiences li', { hasText: 'Left a cart' }).locator('.size b', { hasText: new RegExp(`^${before + 1}$`) }).waitFor();

  await checkout();
  await until(async () => (await size()) === before, 'one fewer in «Left a cart»');
  await mine.waitFor({ state: 'detached' });
  const { tag } = await audience('Left a cart');
  const known = async () => ask(`/v1/visitors/${id}?tag=${tag}`);
  const orders = async () => (await known()).events.filter(({ event }) => event === 'checkout').length;
  await until(async () => (await orders()) === 1, 'order');

  await page.reload(); // of the thank-you page: the same order again
  await at('/shop/thanks');
  await log('not counted twice');
  assert.equal(await orders(), 1);

  const requests = sent.length;
  await shop.getByText('Withdraw consent').click();
  await log('withdrawal');
  await mood('silent');
  await until(async () => (await known()).events.length === 0, 'end of all that was known');
  assert.deepEqual((await known()).audiences, []);
  assert.equal(await visitor(), undefined);
  assert.deepEqual((await stored()).cookies, []);

  await shop.getByText('Back to the shop').click();
  await cart('Moss Boot');
  assert.equal(await settled(), before);
  assert.equal(sent.length, requests + 1); // the withdrawal was the last
  assert.deepEqual([errors, foreign], [[], []]);
  await page.context().close();
});

test('the network is cut in the middle of a checkout, the tab closed, and reopened later: the order arrives once', async () => {
  const { page, shop, visitor, cart, log, mood, at } = await enter();
  const context = page.context();
  await shop.locator('[data-accept]').click();
  await mood('consent given');
  await cart('Moss Boot');
  await log('stored, counts in audiences');
  const id = await visitor();
  const { tag } = await audience('Left a cart');
  const orders = async () => (await ask(`/v1/visitors/${id}?tag=${tag}`)).events.filter(({ event }) => event === 'checkout');

  await shop.locator('.bag').click();
  let met = 0;
  await context.route(COLLECTOR + '/v1/events', (route) => (met++, route.abort('internetdisconnected')));
  await shop.getByText('Check out').click();
  await shop.getByText('Place the order').click();
  await at('/shop/thanks');
  await until(() => met > 0, 'order on a line that is cut');
  await until(() => page.evaluate(() => Object.values(localStorage).join().includes('checkout_')), 'order on the device');
  await page.close();
  assert.deepEqual(await orders(), []);

  await context.unroute(COLLECTOR + '/v1/events');
  const later = await context.newPage();
  await later.goto(SHOP);
  await until(async () => (await orders()).length > 0, 'order');
  await until(() => later.evaluate(() => !Object.keys(localStorage).some((key) => key.startsWith('_collector_q'))), 'empty queue');
  assert.equal((await orders()).length, 1);
  await context.close();
});

/** Opens the choices of the banner and grants an id on the device, and nothing else. */
const grantStorageAlone = async (shop) => {
  await shop.locator('[data-choose]').click();
  for (const box of await shop.locator('#banner input').all()) await box.uncheck();
  await shop.getByText('Keep an id on this device').click();
  await shop.locator('[data-save]').click();
};

test('no box is ticked for the visitor, and part of a consent makes no id', async () => {
  const before = await size();
  const { page, shop, stored, cart, log, mood } = await enter();
  await shop.locator('[data-choose]').click();
  assert.equal(await shop.locator('#banner input:checked').count(), 0);
  await page.reload();
  await grantStorageAlone(shop);
  await mood('measurement');
  await cart('Moss Boot');
  await log('no_visitor');
  assert.deepEqual((await stored()).cookies, []);
  assert.equal(await settled(), before);
  await page.context().close();
});

test('a consent that is narrowed later counts for measurement only', async () => {
  const { page, shop, cart, log, mood } = await enter();
  await shop.locator('[data-accept]').click();
  await mood('consent given');
  const before = await settled();
  await shop.getByText('Privacy choices').click();
  await grantStorageAlone(shop);
  await mood('measurement');
  await cart('Moss Boot');
  await log('stored for measurement, in no audience');
  assert.equal(await settled(), before);
  await page.context().close();
});
