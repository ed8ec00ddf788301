import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { NO_TRACE, openStage } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

const say = (page, ...command) => page.evaluate((args) => collect(...args), command);
const checkouts = () => stage.events().filter(({ event }) => event === 'checkout');
const status = (page) => page.evaluate(() => new Promise((told) => collect('status', told)));
const queued = (page) => page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith('_collector')));
/** Until the condition holds in the page. */
const until = (page, condition) => page.waitForFunction(condition, undefined, { timeout: 5000 });
const empty = () => !Object.keys(localStorage).some((key) => key.startsWith('_collector'));
const later = async (ms) => new Promise((done) => setTimeout(done, ms));

test('the network is cut in the middle of a checkout, the tab closed and reopened later: the order arrives once', async () => {
  const page = await stage.visit('next.html');
  const context = page.context();
  await stage.visit('opt-out.html', { context });
  await stage.eventsOf(2);

  stage.cut = true; // the request gets through, its answer does not
  const thanks = await stage.visit('checkout.html', { context });
  await stage.eventsOf(4);
  const [first] = checkouts();
  await until(thanks, () => Object.keys(localStorage).some((key) => key.startsWith('_collector')));
  await context.setOffline(true);
  await say(thanks, 'track', 'lead'); // this one does not even leave
  await later(100);
  await thanks.close();
  assert.equal(stage.events().filter(({ event }) => event === 'lead').length, 0);

  stage.cut = false;
  await context.setOffline(false);
  const tried = checkouts().length; // Chromium itself repeats a request whose connection broke
  await later(1600); // the first pause, and its jitter
  const again = await stage.visit('opt-out.html', { context });
  await until(again, empty);
  const answered = checkouts().slice(tried);
  assert.deepEqual(answered, [first]); // once, and the same event
  assert.equal(first.event_id, 'checkout_A-17');
  assert.equal(stage.events().filter(({ event }) => event === 'lead').length, 1);
  const bodies = stage.bodies().filter(({ events }) => events.some(({ event }) => event === 'checkout'));
  assert.equal(bodies[0].visitor, bodies.at(-1).visitor);
  assert.ok(bodies.at(-1).sent_at > bodies[0].sent_at); // so that a wrong clock does no harm to the older event
  await again.quiet();
  assert.equal(checkouts().length, tried + 1);
});

test('503 is tried again no sooner than Retry-After says, with the same ids, and the page is told at once', async () => {
  const page = await stage.visit('next.html');
  stage.status = 503;
  stage.headers = { 'Retry-After': '2' };
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(2);
  const fate = await page.evaluate(() => new Promise((told) => collect('track', 'lead', {}, (...fate) => told(fate))));
  assert.deepEqual(fate, [false, 'unavailable']);
  stage.status = 200;
  await until(page, empty);
  const [one, lead, ...repeats] = stage.bodies();
  assert.equal(repeats.length, 2);
  for (const body of [one, lead]) {
    const repeat = repeats.find(({ events }) => events[0].event_id === body.events[0].event_id);
    assert.deepEqual(repeat.events, body.events);
    const wait = repeat.sent_at - body.sent_at;
    assert.ok(wait >= 2000 && wait < 4000, `${wait} ms`);
  }
});

test('each attempt waits longer, and not all pages equally long', async () => {
  const page = await stage.visit('next.html');
  stage.status = 500;
  await page.goto(stage.shopUrl + '/opt-out.html');
  const [a, b, c] = await stage.bodiesOf(3);
  const [one, two] = [b.sent_at - a.sent_at, c.sent_at - b.sent_at];
  assert.ok(one >= 1000 && one < 1700, `${one} ms`);
  assert.ok(two >= 2000 && two < 3200, `${two} ms`);
});

test('a final answer is final: nothing of a 4xx is kept or tried again', async () => {
  for (const code of [401, 413]) {
    const page = await stage.visit('next.html');
    stage.status = code;
    await page.goto(stage.shopUrl + '/opt-out.html');
    await stage.eventsOf(2);
    await until(page, empty);
    await page.quiet();
    assert.equal(stage.seen().length, 1);
    const { queued, notes } = await status(page);
    assert.equal(queued, 0);
    assert.ok(notes.includes('pagevisit: refused, some_code What happened. What to do.'), notes.join('\n'));
  }
});

test('408 and 429 are no final answers', async () => {
  for (const code of [408, 429]) {
    const page = await stage.visit('next.html');
    stage.status = code;
    await page.goto(stage.shopUrl + '/opt-out.html');
    await stage.eventsOf(2);
    await until(page, () => /\[[\d.]+,1,/.test(Object.values(localStorage).join()));
  }
});

test('of a body only the events that the collector could not store are sent again', async () => {
  const page = await stage.visit('next.html');
  stage.answer = ({ event }) => (event === 'addtocart' ? { outcome: 'retry', reason: 'unavailable' } : { outcome: 'accepted', reason: 'full' });
  await page.goto(stage.shopUrl + '/opt-out.html');
  const [, cart] = await stage.eventsOf(2);
  stage.answer = () => ({ outcome: 'accepted', reason: 'full' });
  await until(page, empty);
  assert.deepEqual(stage.events().slice(2), [cart]);
});

test('an http page, which has no locks, tries again too', async () => {
  const page = await stage.visit('next.html');
  stage.status = 503;
  await page.goto(stage.plainUrl + '/opt-out.html');
  const first = await stage.eventsOf(2);
  assert.equal(await page.evaluate(() => 'locks' in navigator), false);
  stage.status = 200;
  await until(page, empty);
  assert.deepEqual(stage.events().slice(2), first.slice(0, 2));
});

test('two tabs do not send the same twice', async () => {
  const page = await stage.visit('next.html');
  stage.status = 503;
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(2);
  await until(page, () => /\[[\d.]+,1,/.test(Object.values(localStorage).join()));
  stage.status = 200;
  stage.answerDelay = 200;
  const others = await Promise.all([1, 2].map(() => stage.visit('opt-out.html', { context: page.context() })));
  await until(others[0], empty);
  await later(300);
  const ids = stage.events().map(({ event_id }) => event_id);
  const repeated = ids.filter((id, index) => ids.indexOf(id) !== index);
  assert.equal(repeated.length, 2, JSON.stringify(stage.bodies().map(({ events }) => events.length)));
});

test('the queue is bounded: the oldest go, and how many is said', async () => {
  const page = await stage.visit('opt-out.html');
  await stage.eventsOf(2);
  stage.status = 503;
  stage.headers = { 'Retry-After': '3000' };
  for (let round = 0; round < 120; round++) {
    await page.evaluate((index) => collect('track', 'custom', { index }), round);
    await page.evaluate(() => new Promise((done) => setTimeout(done, 2)));
  }
  await stage.eventsOf(122);
  const kept = await page.evaluate(() =>
    Object.keys(localStorage).sort().map((key) => JSON.parse(localStorage[key])[2]),
  );
  const indices = kept.map(({ events }) => events[0].data.index);
  assert.equal(indices.length, 100);
  assert.deepEqual(indices, Array.from(indices, (_, place) => 20 + place)); // the newest, in order
  assert.equal(kept.reduce((sum, { lost = 0 }) => sum + lost, 0) > 0, true);
  const told = stage.bodies().reduce((sum, { lost = 0 }) => sum + lost, 0);
  assert.equal(told, 20);
});

test('without consent for storage nothing is kept on the device, and it is tried again from memory', async () => {
  const page = await stage.visit('held.html');
  stage.status = 503;
  const limited = { ad_storage: 'granted', ad_user_data: 'denied', ad_personalization: 'denied' };
  await say(page, 'consent', 'update', limited);
  const first = await stage.eventsOf(2);
  assert.deepEqual(await page.traces(), NO_TRACE);
  stage.status = 200;
  const again = (await stage.eventsOf(4)).slice(2);
  assert.deepEqual(again, first.slice(0, 2));
});

test('what waits on the device is not touched before consent, and goes with it', async () => {
  const page = await stage.visit('next.html');
  stage.status = 503;
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(2);
  await until(page, () => /\[[\d.]+,1,/.test(Object.values(localStorage).join()));
  await page.close();
  stage.status = 200;
  await later(1600);
  const held = await stage.visit('held.html', { context: page.context() });
  await held.quiet();
  assert.equal(stage.events().length, 2);
  await say(held, 'setconsent', true);
  await stage.eventsOf(6);
  await until(held, empty);
});

test('a withdrawal empties the queue, also of what an earlier page left', async () => {
  const page = await stage.visit('next.html');
  stage.status = 503;
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(2);
  await page.close();
  const next = await stage.visit('held.html', { context: page.context() });
  await next.quiet();
  assert.equal((await queued(next)).length, 1);
  stage.status = 200;
  await say(next, 'setconsent', false);
  const withdrawal = (await stage.bodiesOf(2)).at(-1);
  assert.equal(withdrawal.withdraw, true);
  assert.deepEqual(await next.traces(), NO_TRACE);
  await later(1700);
  assert.equal(stage.bodies().length, 2);
});

test('an answer that comes after a withdrawal does not bring the id back', async () => {
  const page = await stage.visit('granted.html');
  const [{ visitor }] = await stage.bodiesOf(1);
  Object.assign(stage, { answerDelay: 400, headers: { 'Set-Cookie': `_collector_id=${visitor};Path=/` } });
  await say(page, 'track', 'lead');
  await stage.bodiesOf(2);
  Object.assign(stage, { answerDelay: 0, headers: {} });
  await say(page, 'setconsent', false);
  await stage.bodiesOf(3);
  assert.equal(stage.seen().find(({ body }) => body.events[0]?.event === 'lead').answered, undefined);
  await later(700);
  assert.equal(stage.seen().find(({ body }) => body.events[0]?.event === 'lead').answered, true);
  assert.deepEqual(await page.traces(), NO_TRACE);
});

test('what may have come days ago is not sent again', async () => {
  const page = await stage.visit('next.html');
  const parcel = (age) => page.evaluate((age) => {
    const body = { tag: '2612345678901', events: [{ event_id: `${age} hours`, event: 'lead' }] };
    localStorage['_collector_q' + (Date.now() - age * 3600000) + 'x'] = JSON.stringify([0, 0, body]);
  }, age);
  await parcel(47);
  await parcel(49);
  await page.goto(stage.shopUrl + '/granted.html');
  await stage.eventsOf(3);
  await until(page, empty);
  assert.deepEqual(stage.events().map(({ event_id }) => event_id).filter((id) => / hours$/.test(id)), ['47 hours']);
});

test('a withdrawal that the collector did not hear is said again', async () => {
  const page = await stage.visit('granted.html');
  await stage.eventsOf(2);
  stage.cut = true;
  await say(page, 'setconsent', false);
  await stage.bodiesOf(2);
  stage.cut = false;
  const [, first, again] = await stage.bodiesOf(3);
  assert.deepEqual([again.withdraw, again.visitor], [true, first.visitor]);
  assert.deepEqual(await page.traces(), NO_TRACE);
});

test('what is no parcel of ours in the storage is thrown away, and what is the site’s stays', async () => {
  const page = await stage.visit('next.html');
  await page.evaluate(() => Object.assign(localStorage, { _collector_qx: '{nonsense', _collector_qy: 'null', cart: '{}' }));
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(2);
  await until(page, empty);
  assert.deepEqual((await page.traces()).local, ['cart']);
});

for (const [what, init] of Object.entries({
  blocked: () => Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } }),
  broken: () => (Storage.prototype.setItem = undefined) || localStorage.setItem,
  full: () => { try { localStorage.filler = 'x'.repeat(5_242_000); } catch {} },
}))
  test(`where storage is ${what}, memory does`, async () => {
    const page = await stage.visit('opt-out.html', { init });
    await stage.eventsOf(2);
    stage.status = 503;
    await say(page, 'track', 'signup', { text: 'y'.repeat(900) });
    await stage.eventsOf(3);
    stage.status = 200;
    await stage.eventsOf(4);
    assert.deepEqual(page.errors, []);
  });
