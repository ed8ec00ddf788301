/** Pages that forbid, block or break things: the tag works where it may, and never throws into the page. */

import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { fixture, openStage, TAG } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

const NONCE = 'r4nd0m';
const names = () => stage.events().map(({ event }) => event);

/**
 * A shop's page with the snippet in it, after `first` and before `last`, and what its policy reported.
 * @param {{ first?: string, last?: string, csp?: string, html?: (html: string) => string }} page
 */
const open = async ({ first = '', last = '', csp, html = (text) => text }) => {
  const page = await stage.visit('next.html');
  const blocked = [];
  page.on('console', (message) => message.type() === 'error' && blocked.push(message.text()));
  const text = `<!doctype html><title>Strict</title>${first && `<script>${first}</script>`}
    ${fixture('opt-out', stage.collectorUrl)}${last && `<script>${last}</script>`}`;
  const body = html(text).replaceAll('<script>', `<script nonce="${NONCE}">`);
  const headers = csp ? { 'Content-Security-Policy': csp } : {};
  stage.own['strict.html'] = { headers, body };
  await page.goto(stage.shopUrl + '/strict.html');
  return Object.assign(page, { blocked });
};

/** The policy that docs/tag.md asks for. */
const POLICY = () => `default-src 'none'; script-src 'nonce-${NONCE}' ${stage.collectorUrl}; connect-src ${stage.collectorUrl}`;

/** The base code without a script that inserts a script, as docs/tag.md has it for Trusted Types. */
const written = (html) =>
  html.replace(/<script>[^]*?(?=collect\()/, `<script async nonce="${NONCE}" src="${stage.collectorUrl}/tag.js"></script>
    <script>window.collect = function () { collect.queue.push([Date.now(), arguments]) }; collect.queue = [];`);

test('a strict content security policy with a nonce', async () => {
  const page = await open({ csp: POLICY() });
  await stage.eventsOf(2);
  assert.deepEqual([page.blocked, page.errors], [[], []]);
});

test('a policy with strict-dynamic, which needs no host for scripts', async () => {
  const page = await open({
    csp: `script-src 'nonce-${NONCE}' 'strict-dynamic'; object-src 'none'; base-uri 'none'; connect-src ${stage.collectorUrl}`,
  });
  await stage.eventsOf(2);
  assert.deepEqual([page.blocked, page.errors], [[], []]);
});

test('a policy that forbids the collector: nothing goes, nothing breaks', async () => {
  const page = await open({ csp: `script-src 'nonce-${NONCE}' ${stage.collectorUrl}; connect-src 'none'`, last: 'window.after = 1' });
  await page.waitForTimeout(300);
  assert.deepEqual([names(), page.errors, await page.evaluate(() => window.after)], [[], [], 1]);
});

test('Trusted Types are required, and no policy of ours is needed', async () => {
  const page = await open({ csp: `${POLICY()}; require-trusted-types-for 'script'; trusted-types 'none'`, html: written });
  await stage.eventsOf(2);
  assert.deepEqual([page.blocked, page.errors], [[], []]);
});

test('a hash that does not fit keeps the script out, and the page whole', async () => {
  const page = await stage.visit('next.html');
  const body = fixture('pinned', stage.collectorUrl).replace(/sha384-..../, 'sha384-AAAA') + '<script>window.after = 1</script>';
  stage.own['strict.html'] = { body };
  await page.goto(stage.shopUrl + '/strict.html');
  await page.waitForTimeout(300);
  assert.deepEqual([names(), page.errors, await page.evaluate(() => window.after)], [[], [], 1]);
});

test('in a sandboxed frame, without cookies or storage, events go all the same', async () => {
  const page = await stage.visit('next.html');
  await page.evaluate((srcdoc) => {
    document.body.append(Object.assign(document.createElement('iframe'), { srcdoc, sandbox: 'allow-scripts' }));
  }, fixture('opt-out', stage.collectorUrl));
  await stage.eventsOf(2);
  assert.equal(stage.seen()[0].headers.origin, 'null'); // so a collector refuses them, unless it lets that origin in
  assert.deepEqual(page.errors, []);
});

const THROWING = `
  const deny = { get() { throw new DOMException('denied', 'SecurityError') }, set() { throw new DOMException('denied', 'SecurityError') } };
  Object.defineProperty(Document.prototype, 'cookie', deny);
  for (const name of ['localStorage', 'sessionStorage', 'indexedDB']) Object.defineProperty(window, name, deny);`;

test('cookies and storage throw', async () => {
  const page = await open({ first: THROWING });
  await stage.eventsOf(2);
  assert.deepEqual(page.errors, []);
});

test('storage is full', async () => {
  const page = await open({ first: `Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }` });
  await stage.eventsOf(2);
  assert.match(stage.bodies()[0].visitor, /^[0-9a-f]{32}$/);
  assert.deepEqual(page.errors, []);
});

test('locks and the older ways of a browser are missing', async () => {
  const page = await open({
    first: `for (const name of ['locks', 'sendBeacon', 'globalPrivacyControl', 'userAgentData'])
      Object.defineProperty(Navigator.prototype, name, { value: undefined });`,
  });
  await stage.eventsOf(2);
  assert.deepEqual(page.errors, []);
});

for (const [what, first] of Object.entries({
  'the page’s fetch throws': `window.fetch = () => { throw new Error('of the page') }`,
  'the page’s fetch answers nonsense': `window.fetch = () => 7`,
}))
  test(`${what}: the page is whole, and the next one sends what waited`, async () => {
    const page = await open({ first, last: 'window.after = 1' });
    await page.waitForTimeout(100);
    assert.deepEqual([page.errors, await page.evaluate(() => window.after)], [[], 1]);
    await page.goto(stage.shopUrl + '/opt-out.html');
    await stage.eventsOf(4);
    assert.deepEqual(names().sort(), ['addtocart', 'addtocart', 'pagevisit', 'pagevisit']);
  });

for (const [what, first] of Object.entries({
  'Promise is overwritten': `window.Promise = function () { throw new Error('of the page') }`,
  'Promise and XMLHttpRequest are gone': `window.Promise = window.XMLHttpRequest = undefined`,
  'prototypes are frozen': `for (const of of [Object, Array, Function, String, Promise, Map, Date]) Object.freeze(of.prototype)`,
  'prototypes have enumerable keys of the page': `Object.prototype.extra = Array.prototype.each = String.prototype.extra = () => { throw new Error('of the page') }`,
  'history is overwritten': `history.pushState = history.replaceState = undefined`,
  'the console is gone': `window.console = undefined`,
  'vendors’ names are taken by elements': `document.write('<i id=dataLayer></i><i id=__tcfapi></i><i id=__gpp></i><a id=fbq></a>')`,
}))
  test(`events arrive although ${what}`, async () => {
    const page = await open({ first, last: 'window.after = 1' });
    await stage.eventsOf(2);
    assert.deepEqual(names(), ['pagevisit', 'addtocart']);
    assert.equal(stage.events()[1].data.value, 12.5);
    assert.deepEqual(page.errors, []);
  });

test('a consent platform that throws has given no answer: events are held, the page is whole', async () => {
  const page = await open({
    first: `window.__tcfapi = window.__gpp = () => { throw new Error('of the page') }`,
    last: 'window.after = 1',
  });
  await page.waitForTimeout(300);
  assert.deepEqual([names(), page.errors, await page.evaluate(() => window.after)], [[], [], 1]);
});

test('callbacks that throw hurt nobody', async () => {
  const page = await open({
    last: `collect('track', 'lead', {}, () => { throw new Error('of the page') });
      collect('track', 'signup', {}, (sent) => { window.told = sent });`,
  });
  await stage.eventsOf(4);
  await page.waitForFunction(() => window.told === true);
  assert.deepEqual(page.errors, []);
});

test('an address that is no text hurts nobody: events go without it', async () => {
  const page = await open({ last: "collect('set', { em: Object.create(null) }); collect('track', 'lead')" });
  await stage.eventsOf(3);
  assert.deepEqual(names(), ['pagevisit', 'addtocart', 'lead']);
  assert.ok(stage.bodies().every(({ user_data }) => user_data.em === undefined));
  assert.deepEqual(page.errors, []);
});

test('nothing moves: no layout shift, nothing added that is seen', async () => {
  const page = await open({
    first: `window.shifts = []; new PerformanceObserver((list) => shifts.push(...list.getEntries())).observe({ type: 'layout-shift', buffered: true });`,
    last: `document.body.append(Object.assign(document.createElement('h1'), { textContent: 'Shoes' })); window.height = document.documentElement.scrollHeight;`,
  });
  await stage.eventsOf(2);
  await page.waitForTimeout(200);
  assert.deepEqual(
    await page.evaluate(() => [shifts.length, document.documentElement.scrollHeight - height, document.body.querySelectorAll('img, iframe').length]),
    [0, 0, 0],
  );
});

test('rendering does not wait for the script', async () => {
  const page = await stage.visit('next.html');
  stage.scriptDelay = 1500;
  await page.goto(stage.shopUrl + '/opt-out.html', { waitUntil: 'commit' });
  await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length > 0);
  assert.deepEqual(names(), []);
  assert.ok(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime) < 1400);
  await stage.eventsOf(2);
});
