import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { NO_TRACE, openStage } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

const YES = { ad_storage: 'granted', ad_user_data: 'granted', ad_personalization: 'granted' };
const NO = { ad_storage: 'denied', ad_user_data: 'denied', ad_personalization: 'denied' };
const say = (page, ...command) => page.evaluate((args) => collect(...args), command);
const names = () => stage.events().map(({ event }) => event);

/** Notes who reads or writes cookies and storage, from before the first script on. */
const watchStorage = () => {
  window.touched = [];
  const cookie = Object.getOwnPropertyDescriptor(Document.prototype, 'cookie');
  Object.defineProperty(document, 'cookie', {
    get: () => (window.touched.push('read cookie'), cookie.get.call(document)),
    set: (value) => (window.touched.push('write cookie'), cookie.set.call(document, value)),
  });
  for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches', 'cookieStore']) {
    const own = Object.getOwnPropertyDescriptor(window, name);
    Object.defineProperty(window, name, { get: () => (window.touched.push(name), own.get.call(window)) });
  }
};
const gpc = () => Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true });
const dnt = () => Object.defineProperty(Navigator.prototype, 'doNotTrack', { get: () => '1' });

/** Nothing left the page, and nothing stayed on the device. */
const assertSilent = async (page) => {
  await page.quiet();
  assert.deepEqual(page.others(), []);
  assert.deepEqual(stage.seen(), []);
  assert.deepEqual(await page.traces(), NO_TRACE);
};

test('under opt_in nothing is sent, stored or even read before consent', async () => {
  const page = await stage.visit('held.html', { init: watchStorage });
  await page.quiet();
  assert.deepEqual(await page.evaluate(() => window.touched), []);
  await assertSilent(page);
});

test('the watch of the test above does see a tag that reads and writes', async () => {
  const page = await stage.visit('granted.html', { init: watchStorage });
  await stage.eventsOf(2);
  const touched = await page.evaluate(() => window.touched);
  assert.ok(touched.includes('read cookie') && touched.includes('write cookie'));
  assert.notDeepEqual(page.others(), []);
  assert.deepEqual((await page.traces()).cookies, ['_collector_id']);
});

test('leaving the page before an answer sends nothing either', async () => {
  const page = await stage.visit('held.html');
  await page.quiet();
  await page.goto(stage.shopUrl + '/next.html');
  await page.evaluate(() => fetch('/marker'));
  assert.deepEqual(stage.seen(), []);
});

test('a late grant sends what was held, with its original time', async () => {
  const page = await stage.visit('held.html');
  await assertSilent(page);
  const calledAt = await page.evaluate(() => window.calledAt);
  await say(page, 'setconsent', 'true');
  const [visit, cart] = await stage.eventsOf(2);
  assert.deepEqual([visit.event, cart.event], ['pagevisit', 'addtocart']);
  assert.ok(Math.abs(cart.event_time - calledAt / 1000) < 0.02);
  const [{ sent_at, consent, visitor }] = stage.bodies();
  assert.ok(sent_at / 1000 - cart.event_time > 0.03); // quiet() alone waited that long
  assert.deepEqual(consent, { ...YES, gpc: false, dnt: false });
  assert.match(visitor, /^[0-9a-f]{32}$/);
});

test('a refusal forgets what was held: a grant after it sends later events only', async () => {
  for (const [refusal, grant] of [
    [['setconsent', false], ['setconsent', true]],
    [['setconsent', 'false'], ['setconsent', 'true']],
    [['consent', 'update', NO], ['consent', 'update', YES]],
  ]) {
    const page = await stage.visit('held.html');
    await page.quiet();
    await say(page, ...refusal);
    await assertSilent(page);
    await say(page, ...grant);
    await page.quiet();
    assert.deepEqual(stage.seen(), []);
    await say(page, 'track', 'signup');
    await stage.eventsOf(1);
    assert.deepEqual(names(), ['signup']);
  }
});

test('a value of setconsent that is neither true nor false is no consent', async () => {
  for (const value of ['granted', 1, null, ['true'], 'TRUE']) {
    const page = await stage.visit('held.html');
    await page.evaluate((given) => collect('setconsent', given), value);
    await assertSilent(page);
  }
});

test('setconsent(false) after true is a withdrawal: said once, and the id leaves the device', async () => {
  const page = await stage.visit('granted.html');
  await stage.eventsOf(2);
  const [{ visitor }] = stage.bodies();
  await say(page, 'setconsent', false);
  const [, withdrawal] = await stage.bodiesOf(2);
  const { sent_at, ...rest } = withdrawal;
  assert.deepEqual(rest, {
    tag: '2612345678901', visitor, withdraw: true, consent: { ...NO, gpc: false, dnt: false }, events: [],
  });
  assert.deepEqual(await page.traces(), NO_TRACE);
  await say(page, 'setconsent', false);
  await say(page, 'track', 'signup');
  await page.quiet();
  assert.equal(stage.bodies().length, 2);
  await say(page, 'setconsent', true);
  await say(page, 'track', 'lead');
  await stage.bodiesOf(3);
  await say(page, 'track', 'signup');
  const [, , lead, signup] = await stage.bodiesOf(4);
  assert.match(lead.visitor, /^[0-9a-f]{32}$/);
  assert.notEqual(lead.visitor, visitor);
  assert.deepEqual([signup.visitor, signup.withdraw], [lead.visitor, undefined]);
});

test('a withdrawal on a later page still knows whom it is about', async () => {
  const page = await stage.visit('granted.html');
  await stage.eventsOf(2);
  const [{ visitor }] = stage.bodies();
  const later = await stage.visit('held.html', { context: page.context() });
  await later.quiet();
  await say(later, 'setconsent', 'false');
  const [, withdrawal] = await stage.bodiesOf(2);
  assert.deepEqual([withdrawal.visitor, withdrawal.withdraw], [visitor, true]);
  assert.deepEqual(await later.traces(), NO_TRACE);
});

test('a denial on a page that had limited consent is a withdrawal too', async () => {
  const page = await stage.visit('granted.html');
  await stage.eventsOf(2);
  const [{ visitor }] = stage.bodies();
  const later = await stage.visit('held.html', { context: page.context() });
  await say(later, 'consent', 'update', { ...YES, ad_personalization: 'denied' });
  const [, limited] = await stage.bodiesOf(2);
  assert.equal(limited.visitor, visitor);
  await say(later, 'consent', 'update', NO);
  const [, , withdrawal] = await stage.bodiesOf(3);
  assert.deepEqual([withdrawal.visitor, withdrawal.withdraw], [visitor, true]);
  assert.deepEqual(await later.traces(), NO_TRACE);
});

test('a withdrawal in another tab ends this one’s events too, until there is consent again', async () => {
  const page = await stage.visit('granted.html');
  await stage.eventsOf(2);
  const other = await stage.visit('held.html', { context: page.context() });
  await say(other, 'setconsent', false);
  await stage.bodiesOf(2);
  const fate = await page.evaluate(() => new Promise((told) => collect('track', 'lead', {}, (...fate) => told(fate))));
  assert.deepEqual(fate, [false, 'consent_denied']);
  await page.quiet();
  assert.equal(stage.bodies().length, 2);
  assert.deepEqual(await page.traces(), NO_TRACE);
  await say(other, 'setconsent', true);
  await say(other, 'track', 'lead');
  await stage.bodiesOf(3);
  await say(page, 'track', 'signup');
  const [, , , signup] = await stage.bodiesOf(4);
  assert.equal(signup.visitor, stage.bodies()[2].visitor);
});

test('who never consented has nothing to withdraw', async () => {
  const page = await stage.visit('held.html');
  await say(page, 'setconsent', false);
  await assertSilent(page);
});

test('a denial is heard before anything is sent, even when it is said after the events', async () => {
  await assertSilent(await stage.visit('opt-out-denied.html'));
});

test('wait_for_update holds, under opt_out too, and an update in time decides', async () => {
  const page = await stage.visit('wait-for-update.html#60000');
  await assertSilent(page);
  await say(page, 'consent', 'update', YES);
  await stage.eventsOf(2);
  assert.deepEqual(names(), ['pagevisit', 'addtocart']);
});

test('wait_for_update that runs out leaves the default: denied', async () => {
  const page = await stage.visit('wait-for-update.html#50');
  await page.waitForFunction(() => performance.now() > 150); // counted from the call, not from the tag's arrival
  await page.quiet();
  await say(page, 'consent', 'update', YES);
  await page.quiet();
  assert.deepEqual(names(), []);
  await say(page, 'track', 'signup');
  await stage.eventsOf(1);
  assert.deepEqual(names(), ['signup']);
});

test('a denied use is limited: sent, but no id is made', async () => {
  const page = await stage.visit('held.html');
  await say(page, 'consent', 'update', { ...YES, ad_personalization: 'denied' });
  await stage.eventsOf(2);
  assert.equal('visitor' in stage.bodies()[0], false);
  assert.deepEqual(await page.traces(), NO_TRACE);
});

test('GPC is sent and limits, also against a grant', async () => {
  for (const name of ['opt-out.html', 'granted.html']) {
    const page = await stage.visit(name, { init: gpc });
    await stage.eventsOf(2);
    const [{ consent, ...body }] = stage.bodies();
    assert.equal(consent.gpc, true);
    assert.equal('visitor' in body, false);
    assert.deepEqual(await page.traces(), NO_TRACE);
  }
});

test('GPC is no consent: under opt_in nothing is sent', async () => {
  await assertSilent(await stage.visit('held.html', { init: gpc }));
});

test('GPC after consent names the visitor that there is, so that the collector can honour it', async () => {
  const page = await stage.visit('granted.html');
  await stage.eventsOf(2);
  const [{ visitor }] = stage.bodies();
  await page.evaluate(gpc);
  await say(page, 'track', 'signup');
  const [, limited] = await stage.bodiesOf(2);
  assert.deepEqual([limited.visitor, limited.consent.gpc], [visitor, true]);
});

test('DNT is silence under opt_in, limits under opt_out, and yields to an explicit grant under opt_in', async () => {
  await assertSilent(await stage.visit('held.html', { init: dnt }));

  const limited = await stage.visit('opt-out.html', { init: dnt });
  await stage.eventsOf(2);
  assert.equal(stage.bodies()[0].consent.dnt, true);
  assert.deepEqual(await limited.traces(), NO_TRACE);

  const granted = await stage.visit('granted.html', { init: dnt });
  await stage.eventsOf(2);
  assert.deepEqual((await granted.traces()).cookies, ['_collector_id']);
});
