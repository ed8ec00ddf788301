import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { NO_TRACE, openStage } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

const YES = { ad_storage: 'granted', ad_user_data: 'granted', ad_personalization: 'granted' };
const NO = { ad_storage: 'denied', ad_user_data: 'denied', ad_personalization: 'denied' };
const AGREED = { publisher: { consents: { 1: true, 3: true } }, tcString: 'CQ-the-string', gdprApplies: true };
const REFUSED = { publisher: { consents: {} }, tcString: 'CQ-another', gdprApplies: true };
const say = (page, ...command) => page.evaluate((args) => collect(...args), command);
const tells = (page, data) => page.evaluate((given) => cmp.say(given), data);
const names = () => stage.events().map(({ event }) => event);

const assertSilent = async (page) => {
  await page.quiet();
  assert.deepEqual(page.others(), []);
  assert.deepEqual(stage.seen(), []);
  assert.deepEqual(await page.traces(), NO_TRACE);
};
const arrived = async (page, data) => {
  await page.quiet();
  await page.evaluate(() => cmp.arrive());
  await tells(page, data);
};

test('TCF: the stub, an open banner and an unknown gdprApplies hold, a grant sends what was held, with the raw string', async () => {
  const page = await stage.visit('platform-tcf.html');
  await assertSilent(page);
  await page.evaluate(() => cmp.arrive());
  await tells(page, { ...AGREED, gdprApplies: undefined, eventStatus: 'tcloaded' });
  await assertSilent(page);
  await tells(page, { ...AGREED, eventStatus: 'cmpuishown' });
  await assertSilent(page);
  await tells(page, { ...AGREED, eventStatus: 'useractioncomplete' });
  const [visit] = await stage.eventsOf(2);
  const [{ consent, sent_at, visitor }] = stage.bodies();
  assert.deepEqual(consent, { gpc: false, dnt: false, gdpr: true, tcf: 'CQ-the-string' });
  assert.ok(sent_at / 1000 - visit.event_time > 0.08); // its own time: three times quiet() before it went
  assert.match(visitor, /^[0-9a-f]{32}$/);
});

test('TCF: an open banner holds against words that the page grants', async () => {
  const page = await stage.visit('platform-tcf.html');
  await say(page, 'setconsent', true);
  await say(page, 'consent', 'update', YES);
  await assertSilent(page);
});

test('TCF: a refusal forgets, and a grant after it sends later events only', async () => {
  const page = await stage.visit('platform-tcf.html');
  await arrived(page, { ...REFUSED, eventStatus: 'useractioncomplete' });
  await assertSilent(page);
  await tells(page, { ...AGREED, eventStatus: 'useractioncomplete' });
  await say(page, 'track', 'signup');
  await stage.eventsOf(1);
  assert.deepEqual(names(), ['signup']);
});

test('TCF: measurement without a profile is limited: sent without an id, nothing stored', async () => {
  const page = await stage.visit('platform-tcf.html');
  await arrived(page, { ...AGREED, publisher: { consents: { 1: true, 7: true } }, eventStatus: 'tcloaded' });
  await stage.eventsOf(2);
  assert.equal('visitor' in stage.bodies()[0], false);
  assert.deepEqual(await page.traces(), NO_TRACE);
});

test('TCF: GDPR that does not apply leaves it to the regime', async () => {
  const page = await stage.visit('platform-tcf.html');
  await arrived(page, { gdprApplies: false, eventStatus: 'tcloaded' });
  await assertSilent(page);
  await say(page, 'setconsent', true);
  await stage.eventsOf(2);
  assert.equal(stage.bodies()[0].consent.gdpr, false);
});

test('TCF: taken back after it was given, it is a withdrawal: told, and the id leaves the device', async () => {
  const page = await stage.visit('platform-tcf.html');
  await arrived(page, { ...AGREED, eventStatus: 'tcloaded' });
  await stage.eventsOf(2);
  const [{ visitor }] = stage.bodies();
  await tells(page, { ...REFUSED, eventStatus: 'useractioncomplete' });
  const [, withdrawal] = await stage.bodiesOf(2);
  assert.deepEqual([withdrawal.visitor, withdrawal.withdraw, withdrawal.events], [visitor, true, []]);
  assert.deepEqual(await page.traces(), NO_TRACE);
});

test('TCF: a platform that comes after the tag is heard, without a word of the page', async () => {
  const page = await stage.visit('held.html');
  await page.quiet();
  await page.evaluate((data) => {
    window.__tcfapi = (command, version, callback) => callback({ ...data, eventStatus: 'tcloaded' }, true);
  }, AGREED);
  await stage.eventsOf(2);
  assert.equal(stage.bodies()[0].consent.tcf, 'CQ-the-string');
});

test('GPP: signals that are not ready hold, an opt-out limits, the raw string and its sections go along', async () => {
  const page = await stage.visit('platform-gpp.html');
  await assertSilent(page);
  await tells(page, {
    signalStatus: 'ready', gppString: 'DBABLA~the-string', applicableSections: [7], parsedSections: { usnat: { SaleOptOut: 1 } },
  });
  await stage.eventsOf(2);
  const [{ consent, ...body }] = stage.bodies();
  assert.deepEqual([consent.gpp, consent.gpp_sid, 'visitor' in body], ['DBABLA~the-string', [7], false]);
  assert.deepEqual(await page.traces(), NO_TRACE);
});

test('GPP: without an opt-out the regime decides; a known child is silence', async () => {
  const page = await stage.visit('platform-gpp.html');
  await page.quiet();
  const ready = { signalStatus: 'ready', gppString: 'DBABLA~x', applicableSections: [7] };
  await tells(page, { ...ready, parsedSections: { usnat: { SaleOptOut: 2, KnownChildSensitiveDataConsents: [0, 0] } } });
  await stage.eventsOf(2);
  assert.match(stage.bodies()[0].visitor, /^[0-9a-f]{32}$/);

  const child = await stage.visit('platform-gpp.html');
  await child.quiet();
  await tells(child, { ...ready, parsedSections: { usnat: { SaleOptOut: 2, KnownChildSensitiveDataConsents: [1, 0] } } });
  await assertSilent(child);
});

test('Consent Mode calls that the page makes itself: earlier ones and later ones are heard, and still reach Google', async () => {
  const page = await stage.visit('gtag.html');
  await assertSilent(page);
  await page.evaluate((words) => gtag('consent', 'update', words), YES);
  await stage.eventsOf(2);
  assert.deepEqual(stage.bodies()[0].consent, { ...YES, gpc: false, dnt: false });
  assert.deepEqual(await page.evaluate(() => [window.pushed, dataLayer.length]), [3, 3]);
});

test('between the page’s calls to Google and to us the strictest wins', async () => {
  const page = await stage.visit('gtag.html');
  await page.evaluate((words) => gtag('consent', 'update', words), YES);
  await stage.eventsOf(2);
  await say(page, 'consent', 'update', { ...YES, ad_personalization: 'denied' });
  await say(page, 'track', 'signup');
  const [, { consent }] = await stage.bodiesOf(2);
  assert.equal(consent.ad_personalization, 'denied');
});

test('Consent Mode that goes from granted to denied is a withdrawal', async () => {
  const page = await stage.visit('gtag.html');
  await page.evaluate((words) => gtag('consent', 'update', words), YES);
  await stage.eventsOf(2);
  await page.evaluate((words) => gtag('consent', 'update', words), NO);
  const [{ visitor }, withdrawal] = await stage.bodiesOf(2);
  assert.deepEqual([withdrawal.visitor, withdrawal.withdraw], [visitor, true]);
  assert.deepEqual(await page.traces(), NO_TRACE);
});
