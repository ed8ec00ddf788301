// A marketer makes audiences, reads them, takes them away. Sizes that pages show are compared with the API's.

import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { readFileSync } from 'node:fs';
import { COLLECTOR, KEY, ROOT, enter, launch, makeFirst, signIn } from './room.mjs';

const { SHOP, NASTY } = process.env;
const AXE = readFileSync(new URL('../../js/node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const MOST_BYTES = 150_000; // of a page, all that it loads

let browser;
before(async () => {
  browser = await launch();
  const { page, context } = await enter(browser);
  await makeFirst(page);
  await page.waitForURL('**/audiences');
  await context.close();
});
after(() => browser.close());

const headers = { authorization: `Bearer ${KEY}` };
const api = async (path, init = {}) => (await fetch(COLLECTOR + path, { headers, ...init })).json();
const audience = async (name) => (await api('/v1/audiences')).items.find((item) => item.name === name);
const size = (rule) => api('/v1/audiences/preview', { method: 'POST', body: JSON.stringify({ tag: SHOP, rule }) }).then((it) => it.size);
const work = async (options) => {
  const it = await enter(browser, options);
  await signIn(it.page);
  await it.page.waitForURL('**/audiences');
  return it;
};
const shown = (page, text) => page.locator('#size', { hasText: new RegExp(`^${text}$`) }).waitFor({ timeout: 15000 });
const counted = (page) => page.locator('#builder.counted:not(.counting)').waitFor();
const loaded = async (page) => {
  while (await page.locator('.waiting').count()) await page.locator('.waiting').first().waitFor({ state: 'detached' });
};

test('an abandoned cart of shoes, by keyboard alone: from the case to the saved audience', async () => {
  const { page, context, wrong } = await work();
  await page.getByRole('link', { name: 'New audience' }).press('Enter');
  await page.getByRole('link', { name: /Abandoned cart/ }).press('Enter');
  const cart = { event: 'addtocart', retention_days: 30, exclude: [{ event: 'checkout', since: 'match' }] };
  await shown(page, await size(cart));
  assert.equal(await page.locator('#c\\.1\\.since').isChecked(), true);
  const carts = await size({ event: 'addtocart', retention_days: 30 });
  assert.equal(await page.locator('[data-own="0"]').innerText(), String(carts));
  assert.equal(await page.locator('[data-own="1"]').innerText(), String(carts - (await size(cart)))); // who bought since
  await page.getByRole('button', { name: '+ page address' }).first().press('Enter');
  await page.locator('[data-fresh]').waitFor();
  await page.keyboard.type('/shoes'); // the new field has the focus
  const shoes = { ...cart, url: { contains: '/shoes' } };
  assert.ok(JSON.parse(await page.locator('#rule').inputValue()));
  await page.locator('#c\\.0\\.days').fill('20');
  shoes.retention_days = 20;
  await page.waitForURL(/days=20.*shoes/);
  await shown(page, await size(shoes));
  await page.reload();
  await shown(page, await size(shoes));
  await page.getByLabel('Name').fill('Shoes left behind');
  await page.getByRole('button', { name: 'Make the audience' }).press('Enter');
  await page.getByRole('heading', { name: 'Shoes left behind' }).waitFor();
  assert.deepEqual((await audience('Shoes left behind')).rule, shoes);
  assert.deepEqual(wrong, []);
  await context.close();
});

test('events, details and values that were really seen are suggested, with their visitors', async () => {
  const { page, context, wrong } = await work();
  const options = () => page.locator('#suggestions option').evaluateAll((all) => all.map(({ value, label }) => [value, label]));
  await page.goto(`${ROOT}/audiences/new?tag=${SHOP}&rule={}`);
  await counted(page);
  await page.locator('#c\\.0\\.event').focus();
  await page.locator('#suggestions option[value="addtocart"]').waitFor({ state: 'attached' });
  const [, label] = (await options()).find(([value]) => value === 'addtocart');
  assert.equal(label, `${await size({ event: 'addtocart', retention_days: 30 })} visitors`);
  await page.getByRole('button', { name: '+ detail' }).click();
  await page.locator('#suggestions option[value="product_category"]').waitFor({ state: 'attached' });
  await page.keyboard.type('product_category');
  await page.locator('#c\\.0\\.data\\.0\\.text').focus();
  await page.locator('#suggestions option[value="Shoes"]').waitFor({ state: 'attached' });
  await page.keyboard.type('Bag');
  await page.waitForFunction(() => document.querySelectorAll('#suggestions option').length === 1);
  assert.equal((await options())[0][0], 'Bags');
  assert.deepEqual(wrong, []);
  await context.close();
});

test('sentence and JSON say the same, whichever one writes; what is wrong is told where it is', async () => {
  const { page, context, wrong } = await work();
  await page.goto(`${ROOT}/audiences/new?tag=${SHOP}&rule={}`);
  await counted(page);
  await page.getByText('The same as JSON').click();
  const rule = {
    retention_days: 60, min_count: 2,
    any: [{ event: 'viewcontent', event_data: { product_category: { in: ['Shoes', 'Bags'] } } }, { event: ['checkout', 'addtocart'], retention_days: 7 }],
    exclude: [{ event: 'lead', since: 'match', event_source: 'web' }], prefill: true,
  };
  await page.locator('#rule').fill(JSON.stringify(rule));
  await page.locator('.clause.exclude').waitFor();
  await shown(page, await size(rule));
  assert.equal(await page.locator('#c\\.1\\.data\\.0\\.text').inputValue(), 'Shoes, Bags');
  assert.equal(await page.locator('#c\\.3\\.since').isChecked(), true);
  await page.locator('#c\\.0\\.days').fill('541');
  await page.locator('[data-wrong="c.0.days"]', { hasText: 'Must be a whole number from 1 to 540.' }).waitFor();
  assert.equal(await page.locator('#c\\.0\\.days').getAttribute('aria-invalid'), 'true');
  await shown(page, '…'); // the size of before is not that of what is written
  await page.locator('#c\\.0\\.days').fill('90');
  await shown(page, await size({ ...rule, retention_days: 90 }));
  await page.waitForFunction(() => JSON.parse(document.getElementById('rule').value).retention_days === 90);
  await page.locator('#rule').fill('{"event": "checkout", "matches": 1}');
  await page.locator('[data-wrong="rule"]', { hasText: 'unknown here' }).waitFor();
  await page.reload();
  await page.locator('[data-wrong="rule"]', { hasText: 'unknown here' }).waitFor();
  assert.equal(await page.locator('#rule').inputValue(), '{"event": "checkout", "matches": 1}');
  await page.getByRole('button', { name: 'Make the audience' }).click();
  await page.locator('[data-wrong="name"]', { hasText: 'Give it a name' }).waitFor();
  assert.equal(await page.locator('#rule').inputValue(), '{"event": "checkout", "matches": 1}');
  assert.deepEqual(wrong.filter((text) => !/422/.test(text)), []);
  await context.close();
});

test('a size that cannot be had is not shown: nobody takes the one of before for it', async () => {
  const { page, context } = await work();
  await page.goto(`${ROOT}/audiences/new?tag=${SHOP}&rule={"event":"checkout"}`);
  await shown(page, await size({ event: 'checkout' }));
  await context.clearCookies(); // the session is over
  await page.locator('#c\\.0\\.days').fill('7');
  await page.locator('#memory', { hasText: 'The size cannot be had now.' }).waitFor();
  await shown(page, '…');
  await context.close();
});

test('a link with a rule that cannot be taken opens with its text and what is wrong', async () => {
  const { page, context, wrong } = await work();
  const rule = '{"event": "checkout", "matches": 1}';
  await page.goto(`${ROOT}/audiences/new?rule=${encodeURIComponent(rule)}`);
  await counted(page);
  await page.locator('[data-wrong="rule"]', { hasText: 'matches: is unknown here. Use event, ' }).waitFor();
  assert.equal(await page.locator('#rule').inputValue(), rule);
  assert.ok(await page.locator('#rule').isVisible());
  await page.locator('#rule').fill('{"event": "checkout"}');
  await shown(page, await size({ event: 'checkout' }));
  assert.deepEqual(wrong, []);
  await context.close();
});

test('an edit shows its effect before it is saved, and is noted in the history', async () => {
  const { page, context, wrong } = await work();
  const was = await audience('Buyers of half a year');
  await page.getByRole('link', { name: was.name }).click();
  await page.getByRole('link', { name: 'Edit', exact: true }).click();
  await page.locator('#c\\.0\\.days').fill('7');
  const less = await size({ event: 'checkout', retention_days: 7 });
  await shown(page, less);
  assert.equal(await page.locator('#before').innerText(), `${was.size} before, −${was.size - less}`);
  assert.deepEqual((await audience(was.name)).rule, was.rule);
  await page.getByRole('button', { name: 'Save the changes' }).click();
  await page.getByText('Saved. It takes effect at once.').waitFor();
  await page.locator('[data-part="size"]', { hasText: new RegExp(`^${less}$`) }).waitFor();
  await page.locator('.edits li', { hasText: 'rule edited' }).waitFor();
  await page.getByRole('link', { name: 'the rule before' }).click();
  await shown(page, was.size);
  await page.getByRole('button', { name: 'Save the changes' }).click();
  await page.locator('[data-part="size"]', { hasText: new RegExp(`^${was.size}$`) }).waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
});

test('the page of an audience: curve by mouse and keyboard, funnel, flow, overlap, tops', async () => {
  const { page, context, wrong } = await work();
  const cart = await audience('Left a cart');
  await page.getByRole('link', { name: cart.name }).click();
  await loaded(page);
  const at = async (days) => (await api(`/v1/audiences/${cart.id}/size?lookback_days=${days}`)).size;
  assert.equal(await page.locator('#read').innerText(), `30 days: ${await at(30)}`);
  await page.getByRole('slider', { name: 'Lookback' }).focus();
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.locator('#read').innerText(), `31 days: ${await at(31)}`);
  await page.keyboard.press('Home');
  assert.equal(await page.locator('#read').innerText(), `1 days: ${await at(1)}`);
  await page.locator('#curve .u-over').hover({ position: { x: 100, y: 50 } });
  const [days, size_] = (await page.locator('#read').innerText()).split(' days: ').map(Number);
  assert.ok(days > 20 && days < 200, days);
  assert.equal(size_, await at(days));
  const steps = await page.locator('.funnel b').allInnerTexts();
  assert.deepEqual(steps, [`${await size({ event: 'addtocart', retention_days: 30 })} left`, `${cart.size} left`]);
  const today = (await page.locator('.flow tbody tr').first().innerText()).split(/\s+/).slice(-1);
  assert.deepEqual(today, [String(cart.size)]);
  const matrix = await api(`/v1/overlap?ids=${cart.id},${(await audience('Everybody this week')).id}`);
  const column = (await page.locator('.heat thead th').allInnerTexts()).indexOf('Everybody this week');
  assert.match(await page.locator('.heat tbody tr').first().locator('td').nth(column - 1).innerText(), new RegExp(`\\b${matrix.sizes[0][1]}$`));
  await page.locator('.tops', { hasText: 'marl.example/shoes' }).waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
});

test('a name of 200 letters takes four lines of the overlap, and is whole for who points at it', async () => {
  const name = 'W'.repeat(200);
  const long = await api('/v1/audiences', { method: 'POST', body: JSON.stringify({ tag: SHOP, name, rule: { event: 'checkout' } }) });
  const { page, context, wrong } = await work();
  await page.goto(`${ROOT}/audiences/${(await audience('Left a cart')).id}`);
  await loaded(page);
  assert.ok((await page.locator('.heat thead').boundingBox()).height < 100);
  assert.equal(await page.locator('.heat thead').getByTitle(name).innerText(), name);
  await fetch(`${COLLECTOR}/v1/audiences/${long.id}`, { method: 'DELETE', headers });
  assert.deepEqual(wrong, []);
  await context.close();
});

test('members leave as a file in the shape that a platform takes; viewers cannot have it', async () => {
  const { page, context } = await work();
  const cart = await audience('Left a cart');
  await page.getByRole('link', { name: cart.name }).click();
  const take = async (name) => {
    await page.getByText('Export', { exact: true }).click();
    const [file] = await Promise.all([page.waitForEvent('download'), page.locator(`a[href$="as=${name}"]`).click()]);
    await page.keyboard.press('Escape');
    return readFileSync(await file.path(), 'utf8').split('\r\n').slice(0, -1);
  };
  const [header, ...ids] = await take('visitors');
  assert.equal(header, 'visitor');
  assert.equal(new Set(ids).size, cart.size);
  const listed = await (await fetch(`${COLLECTOR}/v1/audiences/${cart.id}/members`, { headers })).text();
  assert.deepEqual(ids.sort(), listed.trim().split('\n').map((line) => JSON.parse(line).visitor).sort());
  assert.deepEqual(await take('tiktok-emails'), ['Email_SHA256']);
  assert.deepEqual(await take('pinterest-emails'), []);
  await context.close();
});

test('duplicate, delete, undo', async () => {
  const { page, context, wrong } = await work();
  const was = await audience('Watched the film');
  await page.getByRole('link', { name: was.name }).click();
  await page.getByRole('link', { name: 'Duplicate' }).click();
  await shown(page, was.size);
  await page.getByRole('button', { name: 'Make the audience' }).click();
  await page.getByRole('heading', { name: 'Watched the film, a copy' }).waitFor();
  await page.locator('.facts[data-status="TOO_SMALL"]').waitFor();
  await page.getByText('Delete', { exact: true }).click();
  await page.getByRole('button', { name: 'Delete it' }).click();
  await page.getByText('«Watched the film, a copy» is deleted.').waitFor();
  assert.equal(await audience('Watched the film, a copy'), undefined);
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('It is back, as it was.').waitFor();
  assert.equal((await audience('Watched the film, a copy')).size, was.size);
  assert.deepEqual(wrong, []);
  await context.close();
});

test('whatever a page, a shop or a colleague writes stays text', async () => {
  const { page, context, wrong } = await work();
  await page.goto(`${ROOT}/audiences/new?tag=${SHOP}&rule={}`);
  await counted(page);
  for (const [field, of] of [['c.0.event', NASTY.toLowerCase()], ['c.0.data.0.text', NASTY]]) {
    if (field !== 'c.0.event') {
      await page.getByRole('button', { name: '+ detail' }).click();
      await page.locator('[data-fresh]').fill('product_name');
    }
    const input = page.locator(`[id="${field}"]`);
    await input.focus();
    await page.waitForFunction((text) => [...document.querySelectorAll('#suggestions option')].some(({ value }) => value === text), of);
    await input.fill(NASTY);
  }
  await page.locator('#c\\.0\\.event').fill(`"${NASTY.replaceAll('"', '""')}"`);
  await shown(page, 12);
  await page.getByLabel('Name').fill(NASTY);
  await page.getByLabel('Description').fill(NASTY);
  await page.getByRole('button', { name: 'Make the audience' }).click();
  await page.getByRole('heading', { name: NASTY }).waitFor();
  await loaded(page);
  await page.locator('.facts:not([data-status="INITIALIZING"])').waitFor();
  await page.reload();
  await loaded(page);
  assert.match(await page.locator('.tops').last().innerText(), /onerror/);
  await page.goto(`${ROOT}/audiences?q=${encodeURIComponent('<script>')}`);
  await page.locator('tr[data-row]').waitFor();
  assert.equal(await page.locator('main img, main script').count(), 0);
  assert.deepEqual(wrong, []);
  await context.close();
});

for (const [colorScheme, width] of [['light', 1360], ['dark', 390]])
  test(`nothing in the way of anybody: ${colorScheme}, ${width} wide`, async () => {
    const { page, context } = await work({ colorScheme, viewport: { width, height: 850 }, bypassCSP: true });
    const { id } = await audience('Left a cart');
    for (const path of ['/audiences/new', `/audiences/${id}`, `/audiences/${id}/edit`]) {
      await page.goto(ROOT + path);
      await loaded(page);
      if (path.endsWith('edit')) {
        await counted(page);
        await page.getByRole('button', { name: '+ detail' }).first().click();
        await page.getByText('The same as JSON').click();
        await page.locator('[data-fresh]').waitFor();
      }
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${path} is too wide`);
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes[0].html]), [], path);
    }
    await context.close();
  });

test('every page is light', async () => {
  const { page, context } = await work();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.setCacheDisabled', { cacheDisabled: true });
  let bytes = 0;
  session.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
  const { id } = await audience('Left a cart');
  for (const path of ['/audiences/new', `/audiences/${id}`, `/audiences/${id}/edit`]) {
    bytes = 0;
    await page.goto(ROOT + path, { waitUntil: 'load' });
    await loaded(page);
    console.log(`${path}: ${bytes} bytes`);
    assert.ok(bytes > 1000 && bytes < MOST_BYTES, `${path}: ${bytes}`);
  }
  await context.close();
});
