import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test, { after, before } from 'node:test';
import { fixture, NO_TRACE, openStage, TAG } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

const say = (page, ...command) => page.evaluate((args) => collect(...args), command);
const names = () => stage.events().map(({ event }) => event);

test('the events of one tick go in one request, in the wire’s shape, without a preflight', async () => {
  const from = Date.now();
  await stage.visit('granted.html?epik=abc&utm_source=x#top');
  await stage.eventsOf(2);
  const [request, ...more] = stage.seen();
  assert.deepEqual(more, []); // neither a second request nor an OPTIONS
  assert.equal(`${request.method} ${request.path}`, 'POST /v1/events');
  assert.match(request.headers['content-type'], /^text\/plain/);
  const { visitor, sent_at, events, ...rest } = request.body;
  assert.deepEqual(rest, {
    tag: TAG,
    consent: {
      ad_storage: 'granted', ad_user_data: 'granted', ad_personalization: 'granted', gpc: false, dnt: false,
    },
    user_data: {},
    click_ids: { epik: 'abc' },
  });
  assert.match(visitor, /^[0-9a-f]{32}$/);
  assert.ok(Number.isInteger(sent_at) && sent_at >= from && sent_at <= Date.now());
  for (const { event_id, event_time } of events) {
    assert.match(event_id, /^[0-9a-f]{32}$/);
    assert.ok(event_time >= from / 1000 && event_time <= sent_at / 1000);
  }
  assert.deepEqual(
    events.map(({ event, url, referrer, data }) => ({ event, url, referrer, data })),
    [
      { event: 'pagevisit', data: { utm_source: 'x' } },
      { event: 'addtocart', data: { utm_source: 'x', value: 12.5, currency: 'EUR', line_items: [{ product_id: 'p1' }] } },
    ].map((event) => ({ ...event, url: `${stage.shopUrl}/granted.html?epik=abc&utm_source=x`, referrer: '' })),
  );
});

test('an event has the time of its call, however late the tag arrives', async () => {
  const page = await stage.visit('next.html');
  stage.scriptDelay = 300;
  await page.goto(stage.shopUrl + '/held.html');
  const calledAt = await page.evaluate(() => window.calledAt);
  await say(page, 'setconsent', true);
  const [visit, cart] = await stage.eventsOf(2);
  assert.ok(Math.abs(cart.event_time - calledAt / 1000) < 0.02);
  assert.ok(visit.event_time <= cart.event_time);
  assert.ok(stage.bodies()[0].sent_at - calledAt > 250);
});

test('the visitor stays the same from page to page, in a cookie as long-lived as browsers allow', async () => {
  const page = await stage.visit('granted.html');
  await stage.eventsOf(2);
  const [cookie] = await page.context().cookies();
  const { name, value, path, sameSite, secure, httpOnly, domain } = cookie;
  assert.deepEqual(
    { name, value, path, sameSite, secure, httpOnly, domain },
    {
      name: '_collector_id', value: stage.bodies()[0].visitor, path: '/', sameSite: 'Lax', secure: false,
      httpOnly: false, domain: 'localhost',
    },
  );
  assert.ok(Math.abs(cookie.expires - Date.now() / 1000 - 395 * 86400) < 60);
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(4);
  assert.deepEqual(new Set(stage.bodies().map(({ visitor }) => visitor)), new Set([value]));
  // Credentials go along, so that a cookie which the collector set itself comes back to it.
  for (const { headers } of stage.seen()) assert.equal(headers.cookie, `_collector_id=${value}`);
});

test('a cookie that is no visitor id is replaced', async () => {
  const page = await stage.visit('next.html');
  await page.context().addCookies([{ name: '_collector_id', value: 'A'.repeat(32), url: stage.shopUrl }]);
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(2);
  assert.match(stage.bodies()[0].visitor, /^[0-9a-f]{32}$/);
});

test('on https the cookie is Secure', async () => {
  const page = await stage.visit('next.html');
  const context = page.context();
  await context.route('https://shop.test/**', (route) =>
    route.fulfill({ contentType: 'text/html', body: fixture('opt-out', 'https://collector.test') }),
  );
  await context.route('https://collector.test/**', (route) =>
    route.request().method() === 'GET'
      ? route.fetch({ url: stage.collectorUrl + '/tag.js' }).then((response) => route.fulfill({ response }))
      : route.fulfill({ status: 503 }),
  );
  const sent = page.waitForRequest((request) => request.method() === 'POST');
  await page.goto('https://shop.test/');
  await sent;
  const [cookie] = await context.cookies('https://shop.test/');
  assert.deepEqual([cookie.name, cookie.secure, cookie.sameSite], ['_collector_id', true, 'Lax']);
});

test('an order makes the same event_id on every load of the thank-you page', async () => {
  const page = await stage.visit('checkout.html');
  await stage.eventsOf(2);
  await page.reload();
  const ids = (await stage.eventsOf(4)).filter(({ event }) => event === 'checkout').map(({ event_id }) => event_id);
  assert.deepEqual(ids, ['checkout_A-17', 'checkout_A-17']);
});

test('an e-mail address leaves the page as its SHA-256, with the events of the same tick', async () => {
  const page = await stage.visit('identity.html');
  await stage.eventsOf(1);
  const em = createHash('sha256').update('ann@shop.test').digest('hex');
  assert.deepEqual(stage.bodies()[0].user_data, { em, external_id: 4711 });
  await say(page, 'set', { em: null, external_id: null });
  await say(page, 'track', 'signup');
  const [, anonymous] = await stage.bodiesOf(2);
  assert.deepEqual(anonymous.user_data, {});
});

test('where the browser has no SHA-256 the address stays in the page and the events go', async () => {
  await stage.visit('identity.html', { origin: stage.plainUrl });
  await stage.eventsOf(1);
  assert.deepEqual(stage.bodies()[0].user_data, { external_id: 4711 });
});

test('identities are not sent before consent', async () => {
  const page = await stage.visit('held.html');
  await say(page, 'set', { em: 'ann@shop.test' });
  await page.quiet();
  assert.deepEqual(page.others(), []);
});

test('an event of a click that leaves the page arrives, and the browser stays on the line for it', async () => {
  const page = await stage.visit('leaving.html');
  await stage.eventsOf(1);
  stage.answerDelay = 400; // the page is gone by then
  await page.click('a');
  await page.waitForURL('**/next.html');
  await stage.eventsOf(2);
  assert.deepEqual(names(), ['pagevisit', 'lead']);
  assert.equal(await stage.lastAnswered(), true);
});

test('what still waits when the page goes away is sent, once', async () => {
  const page = await stage.visit('identity.html');
  await stage.eventsOf(1);
  assert.ok(stage.bodies()[0].user_data.em);
  await page.evaluate(() => {
    crypto.subtle.digest = () => new Promise(() => {}); // an answer that never comes
    collect('set', { em: 'bob@shop.test' });
    collect('track', 'signup', { page_name: 'café' });
  });
  await page.quiet();
  assert.deepEqual(names(), ['pagevisit']);
  await page.goto(stage.shopUrl + '/next.html');
  await stage.eventsOf(2);
  assert.deepEqual(stage.events()[1].data, { page_name: 'café' });
  assert.deepEqual(stage.bodies()[1].user_data, { external_id: 4711 }); // not with Ann's address
  assert.deepEqual(stage.seen().map(({ method }) => method), ['POST', 'POST']);
  await page.evaluate(() => fetch('/marker'));
  assert.deepEqual(names(), ['pagevisit', 'signup']);
});

test('many events go in bodies that a leaving page can still carry', async () => {
  const page = await stage.visit('opt-out.html');
  await stage.eventsOf(2);
  await page.evaluate(() => {
    for (let index = 0; index < 100; index++) collect('track', 'custom', { index, text: 'é'.repeat(1000) });
  });
  await stage.eventsOf(102);
  assert.deepEqual(stage.events().slice(2).map(({ data }) => data.index).sort((a, b) => a - b), [...Array(100).keys()]);
  assert.ok(stage.seen().length > 3);
  for (const { bytes } of stage.seen()) assert.ok(bytes < 60_000);
});

test('a callback hears the collector’s answer', async () => {
  const page = await stage.visit('opt-out.html');
  await stage.eventsOf(2);
  stage.answer = ({ event }) => (event === 'lead' ? { outcome: 'refused', reason: 'bad_data' } : { outcome: 'duplicate', reason: 'event_id' });
  const fates = () =>
    page.evaluate(() =>
      Promise.all(['signup', 'lead'].map((event) => new Promise((done) => collect('track', event, {}, (...fate) => done(fate))))),
    );
  assert.deepEqual(await fates(), [[true, 'event_id'], [false, 'bad_data']]);
  stage.status = 503;
  assert.deepEqual(await fates(), Array(2).fill([false, 'unavailable']));
  await say(page, 'setconsent', false);
  assert.deepEqual(await fates(), Array(2).fill([false, 'consent_denied']));
});

test('nothing that a page does wrong comes back to it, and what it does right still goes', async () => {
  const page = await stage.visit('hostile.html');
  await page.waitForFunction(() => window.leadSent);
  assert.deepEqual(page.errors, []);
  assert.ok((await page.evaluate(() => window.returned)).every((value) => value === undefined || value === null));
  assert.deepEqual(names(), ['pagevisit', 'custom', 'custom', 'signup', 'lead']);
  assert.deepEqual(new Set(stage.bodies().map(({ tag }) => tag)), new Set([TAG]));
});

test('a collector that is away harms no page', async () => {
  const page = await stage.visit('next.html');
  await page.route(/\/v1\/events/, (route) => route.abort());
  await page.goto(stage.shopUrl + '/opt-out.html');
  await page.quiet();
  assert.deepEqual(page.errors, []);
});

test('a script that came twice counts once', async () => {
  await stage.visit('twice.html');
  await stage.eventsOf(2);
  assert.deepEqual(names(), ['pagevisit', 'signup']);
});

test('the pinned snippet runs the version that its hash allows, and no other', async () => {
  const page = await stage.visit('pinned.html');
  await stage.eventsOf(1);
  assert.ok(page.requests.some((url) => /\/tag\/[\d.]+\.js$/.test(url)));

  const tampered = await stage.visit('next.html');
  await tampered.route(/\/tag\/.*\.js$/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()) + ';' });
  });
  await tampered.goto(stage.shopUrl + '/pinned.html');
  await tampered.waitForTimeout(100);
  assert.deepEqual(stage.seen(), []);
});

test('without JavaScript the pixel is asked for, and nothing else; under opt_in nothing at all', async () => {
  await stage.visit('held.html', { javaScriptEnabled: false });
  assert.deepEqual(stage.seen(), []);
  await stage.visit('opt-out.html', { javaScriptEnabled: false });
  assert.deepEqual(
    stage.seen().map(({ method, path }) => `${method} ${path}`),
    [`GET /v1/pixel.gif?tag=${TAG}&event=pagevisit`],
  );
});

test('a page that is only prerendered is not counted until somebody sees it', async () => {
  const page = await stage.visit('opt-out.html', {
    init: () => Object.defineProperty(Document.prototype, 'prerendering', { get: () => !window.activated }),
  });
  await page.quiet();
  assert.deepEqual([page.others(), await page.traces()], [[], NO_TRACE]);
  await page.evaluate(() => {
    window.activated = true;
    document.dispatchEvent(new Event('prerenderingchange'));
  });
  await stage.eventsOf(2);
});
