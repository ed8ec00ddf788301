import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test, { after, before } from 'node:test';
import { NO_TRACE, openStage } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

const say = (page, ...command) => page.evaluate((args) => collect(...args), command);
const visits = () =>
  stage.events().filter(({ event }) => event === 'pagevisit').map(({ url }) => url.replace(/^http:\/\/[^/]*/, ''));
const status = (page) => page.evaluate(() => new Promise((told) => collect('status', told)));
const sha256 = (text) => createHash('sha256').update(text).digest('hex');

// An application's addresses

test('an application’s pages are counted: pushState, replaceState and back, each address once', async () => {
  const page = await stage.visit('spa.html');
  await stage.eventsOf(1);
  await page.evaluate(() => history.pushState({}, '', '/shoes'));
  await stage.eventsOf(2);
  await page.evaluate(() => history.replaceState({}, '', '/shoes?size=42'));
  await stage.eventsOf(3);
  await page.goBack();
  await stage.eventsOf(4);
  assert.deepEqual(visits(), ['/spa.html', '/shoes', '/shoes?size=42', '/spa.html']);
  assert.deepEqual(stage.events().map(({ referrer }) => referrer.replace(/^http:\/\/[^/]*/, '')), ['', '/spa.html', '/shoes', '/shoes?size=42']);
});

test('the same address is not counted twice, nor a fragment, nor a redirect in the same breath', async () => {
  const page = await stage.visit('spa.html');
  await stage.eventsOf(1);
  await page.evaluate(() => {
    history.replaceState({ scroll: 7 }, '', location.href);
    history.pushState({}, '', '#reviews');
    location.hash = 'more';
  });
  await page.quiet();
  await page.evaluate(() => {
    history.pushState({}, '', '/account');
    history.replaceState({}, '', '/login');
  });
  await stage.eventsOf(2);
  await page.quiet();
  assert.deepEqual(visits(), ['/spa.html', '/login']);
});

test('the page’s own call for an address and the automatic one are one visit, whichever comes first', async () => {
  const page = await stage.visit('spa.html');
  await stage.eventsOf(1);
  await page.evaluate(() => {
    history.pushState({}, '', '/a');
    collect('page', { page_name: 'A' });
  });
  await stage.eventsOf(2);
  await page.evaluate(() => history.pushState({}, '', '/b'));
  await stage.eventsOf(3);
  const told = await page.evaluate(() => new Promise((done) => collect('page', {}, (...fate) => done(fate))));
  await page.quiet();
  assert.deepEqual(told, [true, 'counted']);
  assert.deepEqual(visits(), ['/spa.html', '/a', '/b']);
  assert.equal(stage.events()[1].data.page_name, 'A');
});

test('with spa: false only the page’s own calls count', async () => {
  const page = await stage.visit('spa-own.html');
  await stage.eventsOf(1);
  await page.evaluate(() => history.pushState({}, '', '/a'));
  await page.quiet();
  await say(page, 'page');
  await stage.eventsOf(2);
  assert.deepEqual(visits(), ['/spa-own.html', '/a']);
});

test('a page that comes back from the back/forward cache is not counted twice, and still works', async () => {
  const page = await stage.visit('spa.html');
  await stage.eventsOf(1);
  await page.evaluate(() => {
    dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
  });
  await page.quiet();
  await say(page, 'track', 'signup');
  await stage.eventsOf(2);
  assert.deepEqual(stage.events().map(({ event }) => event), ['pagevisit', 'signup']);
});

// Identity

test('one id for all subdomains of a site, and none on a public suffix', async () => {
  const page = await stage.visit('opt-out.html', { origin: stage.at('www.shop.example') });
  await stage.eventsOf(2);
  const cookies = await page.context().cookies();
  assert.deepEqual(cookies.map(({ name, domain }) => [name, domain]), [['_collector_id', '.shop.example']]);
  await page.goto(stage.at('blog.de.shop.example') + '/opt-out.html');
  await stage.eventsOf(4);
  assert.equal(new Set(stage.bodies().map(({ visitor }) => visitor)).size, 1);
  await say(page, 'setconsent', false);
  await stage.bodiesOf(3);
  assert.deepEqual(await page.context().cookies(), []); // host and site alike

  const suffix = await stage.visit('opt-out.html', { origin: stage.at('ann.github.io') });
  await stage.eventsOf(2);
  const [{ domain }, ...more] = await suffix.context().cookies();
  assert.deepEqual([domain.replace(/^\./, ''), more], ['ann.github.io', []]);
});

test('an id that the host alone had becomes the site’s', async () => {
  const page = await stage.visit('next.html');
  const id = '0123456789abcdef0123456789abcdef';
  const url = stage.at('www.shop.example');
  await page.context().addCookies([{ name: '_collector_id', value: id, url }]);
  await page.goto(url + '/opt-out.html');
  await stage.eventsOf(2);
  const cookies = await page.context().cookies();
  assert.deepEqual(cookies.map(({ value, domain }) => [value, domain]), [[id, '.shop.example']]);
  assert.equal(stage.bodies()[0].visitor, id);
});

test('where cookies are blocked, a page is one visitor, and the next page another', async () => {
  const init = () => Object.defineProperty(document, 'cookie', { get: () => '', set: () => {} });
  const page = await stage.visit('opt-out.html', { init });
  await stage.eventsOf(2);
  await say(page, 'track', 'signup');
  const [one, two] = await stage.bodiesOf(2);
  assert.match(one.visitor, /^[0-9a-f]{32}$/);
  assert.equal(one.visitor, two.visitor);
});

test('click ids and the campaign stay with the events of an application’s later addresses', async () => {
  const page = await stage.visit('spa.html?gclid=g1&utm_source=pin');
  await stage.eventsOf(1);
  await page.evaluate(() => history.pushState({}, '', '/shoes'));
  await say(page, 'track', 'addtocart', { value: 1 });
  await stage.eventsOf(3);
  for (const { click_ids, events } of stage.bodies()) {
    assert.deepEqual(click_ids, { gclid: 'g1' });
    for (const { data } of events) assert.equal(data.utm_source, 'pin');
  }
});

test('a telephone number leaves the page as its SHA-256, and not at all where the page cannot hash', async () => {
  const page = await stage.visit('opt-out.html');
  await stage.eventsOf(2);
  await say(page, 'set', { ph: '+1 (650) 555-1212' });
  await say(page, 'track', 'signup');
  const [, { user_data }] = await stage.bodiesOf(2);
  assert.deepEqual(user_data, { ph: sha256('16505551212') });

  const plain = await stage.visit('opt-out.html', { origin: stage.plainUrl });
  await stage.eventsOf(2);
  await say(plain, 'set', { ph: '+1 (650) 555-1212' });
  await say(plain, 'track', 'signup');
  const bodies = await stage.bodiesOf(2);
  assert.deepEqual(bodies[1].user_data, {});
  assert.doesNotMatch(JSON.stringify(bodies), /555-?1212/); // less may stand in an id by chance
});

test('opt_out_type limits, and is told', async () => {
  const page = await stage.visit('next.html');
  await page.goto(stage.shopUrl + '/spa-own.html'); // waits for nothing before its first command
  await stage.eventsOf(1);
  await say(page, 'set', { opt_out_type: 'LDP' });
  await say(page, 'track', 'signup');
  const [, { consent }] = await stage.bodiesOf(2);
  assert.equal(consent.opt_out_type, 'LDP');
  assert.equal((await status(page)).consent, 'limited');
});

// For the developer

const spoken = (page) => {
  const lines = [];
  page.on('console', (message) => message.text().startsWith('[collector]') && lines.push(message.text().slice(12)));
  return lines;
};

test('status tells consent and why, what waits, and what became of the last events', async () => {
  const page = await stage.visit('held.html');
  await page.quiet();
  const held = await status(page);
  assert.deepEqual(held, {
    tag: '2612345678901', consent: 'hold', why: 'no consent yet', gpc: false, optout: '', held: 2, queued: 0,
    notes: ['pagevisit: held, no consent yet', 'addtocart: held, no consent yet'],
  });
  assert.deepEqual(await page.traces(), NO_TRACE);
  await say(page, 'setconsent', true);
  await stage.eventsOf(2);
  await page.waitForFunction(() => !Object.keys(localStorage).length);
  const sent = await status(page);
  assert.deepEqual([sent.consent, sent.held, sent.queued], ['full', 0, 0]);
  assert.deepEqual(sent.notes.slice(2), ['pagevisit: accepted, full', 'addtocart: accepted, full']);
});

test('status tells that an opt-out was honoured, in the collector’s own word', async () => {
  const page = await stage.visit('next.html');
  stage.headers = { 'X-Collector-Optout': 'honoured' };
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true }));
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(2);
  await page.quiet();
  const { gpc, optout, consent, why } = await status(page);
  assert.deepEqual([gpc, optout, consent, why], [true, 'honoured', 'limited', 'GPC']);
});

test('collector_debug in the address explains every event: held, dropped, accepted, refused and why', async () => {
  const page = await stage.visit('next.html');
  const lines = spoken(page);
  stage.answer = ({ event }) => (event === 'lead' ? { outcome: 'refused', reason: 'bad_data' } : { outcome: 'accepted', reason: 'full' });
  await page.goto(stage.shopUrl + '/held.html?collector_debug');
  await page.quiet();
  assert.deepEqual(lines, ['pagevisit: held, no consent yet', 'addtocart: held, no consent yet']);
  await say(page, 'setconsent', true);
  await say(page, 'track', 'lead');
  await stage.eventsOf(3);
  await page.quiet();
  assert.deepEqual(lines.slice(2), ['pagevisit: accepted, full', 'addtocart: accepted, full', 'lead: refused, bad_data']);
  await say(page, 'setconsent', false);
  await say(page, 'track', 'signup');
  await page.quiet();
  assert.ok(lines.includes('withdrawal: sent, consent words') && lines.includes('signup: dropped, consent words'), lines.join('\n'));
});

test('collect(debug) tells what was, then what comes; without it the console stays quiet', async () => {
  const page = await stage.visit('next.html');
  const lines = spoken(page);
  stage.status = 503;
  await page.goto(stage.shopUrl + '/opt-out.html');
  await stage.eventsOf(2);
  await page.quiet();
  assert.deepEqual(lines, []);
  await say(page, 'debug');
  await page.quiet();
  assert.deepEqual(lines, ['pagevisit', 'addtocart'].map((event) => `${event}: retry, some_code What happened. What to do.`));
});
