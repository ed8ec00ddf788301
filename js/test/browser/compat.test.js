import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { openStage, TAG } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

/** The vendors' libraries come: they replay their queues and take later calls, each in its vendor's way. */
const libraries = () => {
  window.seen = { pintrk: [], fbq: [], ttq: [], google: [] };
  const note = (vendor, args) => seen[vendor].push(JSON.parse(JSON.stringify([...args])));
  const queued = pintrk.queue;
  window.pintrk = function (...args) {
    note('pintrk', args);
    if (args[1] === 'explode') throw new RangeError('of the vendor');
    return 'pinned';
  };
  queued.forEach((args) => window.pintrk(...args)); // through the very name that the page calls
  fbq.callMethod = function () {
    note('fbq', arguments);
    return 'told';
  };
  while (fbq.queue.length) fbq.callMethod.apply(fbq, fbq.queue.shift());
  const [calls, pixels] = [[...ttq], ttq._i];
  class Library {
    #secret = 'a proxy around this object would break it';
    track(...args) {
      note('ttq', ['track', ...args]);
      return this.#secret && this;
    }
    page(...args) {
      note('ttq', ['page', ...args]);
    }
    instance() {
      return this;
    }
  }
  window.ttq = new Library();
  for (const [method, ...args] of [...calls, ...Object.values(pixels).flatMap((pixel) => [...pixel])]) ttq[method](...args);
  const push = dataLayer.push;
  for (const item of dataLayer) note('google', [item]);
  dataLayer.push = function (...items) {
    items.forEach((item) => note('google', [item]));
    return push.apply(dataLayer, items);
  };
};

const QUEUED = ['pagevisit', 'addtocart'];
const names = () => stage.events().map(({ event }) => event.toLowerCase()); // as the collector has them

test('one line hears what four vendors were told already, once each', async () => {
  const page = await stage.visit('compat.html');
  const [visit, cart] = await stage.eventsOf(2);
  await page.waitForTimeout(700);
  assert.deepEqual(names(), QUEUED);
  assert.equal(stage.bodies()[0].tag, TAG);
  assert.equal(cart.event_id, 'cart-1');
  assert.equal(cart.data.value, 49.95);
  assert.deepEqual(cart.data.line_items, [{ product_id: 'p1' }]);
  assert.ok(visit.event_time <= cart.event_time);
  assert.deepEqual(page.errors, []);
});

test('later calls count once as well, before and after the libraries came, which see exactly their own', async () => {
  const page = await stage.visit('compat.html');
  await stage.eventsOf(2);
  const told = await page.evaluate((libraries) => {
    const lead = { value: 5, currency: 'EUR' };
    pintrk('track', 'lead', { ...lead, lead_type: 'newsletter' });
    fbq('trackSingle', '2', 'Lead', lead);
    ttq.track('SubmitForm', lead);
    new Function(`return (${libraries})()`)();
    const answers = [
      fbq('track', 'Purchase', order, { eventID: 'm-1' }),
      pintrk('track', 'checkout', { value: '99.90', currency: 'EUR', order_id: 'A-17', order_quantity: 1 }),
      ttq.track('PlaceAnOrder', order) === ttq,
      ttq.track('CompletePayment', order) === ttq,
      gtag('event', 'purchase', { transaction_id: 'A-17', value: 99.9, currency: 'EUR', items: [{ item_id: 'p1', price: 99.9 }] }),
      dataLayer.push({ event: 'purchase', ecommerce: { transaction_id: 'A-17', value: 99.9 } }) === dataLayer.length,
      dataLayer.push({ event: 'gtm.click' }, { event: 'menu opened' }) === dataLayer.length,
      fbq === _fbq,
    ];
    try {
      pintrk('track', 'explode');
    } catch (error) {
      answers.push(`${error}`);
    }
    return { answers, seen, dataLayer: JSON.parse(JSON.stringify(dataLayer.map((item) => [...(item.length ? item : [item])]))) };
  }, libraries.toString());
  assert.deepEqual(told.answers, [undefined, 'pinned', true, true, undefined, true, true, true, 'RangeError: of the vendor']);
  assert.deepEqual(told.seen.pintrk.map(([word, name]) => name ?? word), ['1', 'page', 'addtocart', 'lead', 'checkout', 'explode']);
  assert.deepEqual(told.seen.fbq.map((args) => args.slice(0, 3).join(' ')), [
    'init 2', 'track PageView', 'track AddToCart [object Object]', 'trackSingle 2 Lead', 'track Purchase [object Object]',
  ]);
  assert.deepEqual(told.seen.fbq.at(-1)[3], { eventID: 'm-1' });
  assert.deepEqual(told.seen.ttq.map(([word, name]) => name ?? word), ['page', 'SubmitForm', 'AddToCart', 'PlaceAnOrder', 'CompletePayment']);
  assert.equal(told.seen.google.length, told.dataLayer.length);

  await stage.eventsOf(5);
  await page.waitForTimeout(700);
  assert.deepEqual(names().sort(), [...QUEUED, 'checkout', 'explode', 'lead'].sort());
  const checkout = stage.events().find(({ event }) => event === 'checkout');
  assert.equal(checkout.event_id, 'checkout_A-17'); // the order's, though Meta came first with an id of its own
  assert.deepEqual(checkout.data.line_items[0].product_id, 'p1');
  assert.deepEqual(page.errors, []);
});

test('two clicks, each told to three vendors, are two events', async () => {
  const page = await stage.visit('compat.html');
  await stage.eventsOf(2);
  await page.evaluate(() => {
    for (let click = 0; click < 2; click++) {
      pintrk('track', 'addtowishlist');
      fbq('track', 'AddToWishlist');
      ttq.track('AddToWishlist');
    }
  });
  await stage.eventsOf(4);
  await page.waitForTimeout(700);
  assert.deepEqual(names(), [...QUEUED, 'addtowishlist', 'addtowishlist']);
});

test('an order id beside an event that is no checkout leaves the vendor’s event id to it', async () => {
  await (await stage.visit('compat.html')).evaluate(() => {
    fbq('track', 'Subscribe', { order_id: 'A-17' }, { eventID: 'm-1' });
    fbq('track', 'Purchase', { order_id: 'A-17' }, { eventID: 'm-2' });
  });
  const events = await stage.eventsOf(4);
  assert.deepEqual(events.slice(2).map(({ event_id }) => event_id), ['m-1', 'checkout_A-17']);
});

test('a name of the page’s own stays as the page has it', async () => {
  const page = await stage.visit('compat.html');
  await page.evaluate(() => {
    fbq('trackCustom', 'Share_Discount');
    gtag('event', 'share_discount');
    gtag('event', 'remove_from_cart', { value: 5 });
    gtag('event', 'add_to_wishlist');
    fbq('track', 'AddToWishlist');
  });
  await stage.eventsOf(5);
  await page.waitForTimeout(700);
  assert.deepEqual(names(), [...QUEUED, 'share_discount', 'remove_from_cart', 'add_to_wishlist']);
});

test('products of a vendor’s page visit are kept: with the visit, or after it', async () => {
  const seenProducts = () => stage.events().map(({ event, data }) => [event, data.line_items?.[0].product_id]);
  const page = await stage.visit('compat-held.html');
  await page.evaluate(() => {
    collect('setconsent', true);
    fbq('track', 'PageView', { content_ids: ['1'] });
  });
  await stage.eventsOf(1);
  await page.waitForTimeout(700);
  await page.evaluate(() => fbq('track', 'PageView', { content_ids: ['2'] }));
  await page.evaluate(() => history.pushState({}, '', '/two.html'));
  await page.waitForTimeout(100);
  await page.evaluate(() => fbq('track', 'PageView', { content_ids: ['3'] }));
  await page.waitForTimeout(700);
  const seen = seenProducts();
  for (const product of ['1', '2', '3'])
    assert.equal(seen.filter((each) => each.join() === `pagevisit,${product}`).length, 1, JSON.stringify(seen));
});

test('the line may stand on a page twice, and beside an element that is called like us', async () => {
  const line = `<script async src="${stage.collectorUrl}/tag/compat.js?tag=${TAG}&regime=opt_out"></script>`;
  const stub = '<script>fbq = function () { fbq.queue.push(arguments); }; fbq.queue = [];</script>';
  stage.own['double.html'] = { body: `<!doctype html><button id=collect>Click &amp; collect</button>${stub}${line}${line}` };
  const page = await stage.visit('double.html');
  await stage.eventsOf(1);
  await page.evaluate(() => fbq('track', 'AddToCart', { content_ids: ['p1'] }));
  await stage.eventsOf(2);
  await page.waitForTimeout(700);
  assert.deepEqual([names(), page.errors], [QUEUED, []]);
});

test('a page that asks for Trusted Types brings the script itself, and sees no error', async () => {
  const body = `<!doctype html><script async src="${stage.collectorUrl}/tag/compat.js?tag=${TAG}&regime=opt_out"></script>`;
  const headers = { 'Content-Security-Policy': "require-trusted-types-for 'script'" };
  stage.own['refused.html'] = { headers, body };
  const page = await stage.visit('refused.html');
  await page.waitForFunction(() => window.collect);
  await page.waitForTimeout(700);
  assert.deepEqual([names(), page.errors], [[], []]);
  stage.own['brought.html'] = { headers, body: body.replace('async ', '') + `<script async src="${stage.collectorUrl}/tag.js"></script>` };
  assert.deepEqual((await stage.visit('brought.html')).errors, []);
  await stage.eventsOf(1);
});

test('vendors that come after our line are heard too', async () => {
  const page = await stage.visit('opt-out.html?compat');
  await stage.eventsOf(2);
  await page.evaluate(
    (src) => new Promise((done) => document.head.append(Object.assign(document.createElement('script'), { src, onload: done }))),
    stage.collectorUrl + '/tag/compat.js',
  );
  await page.evaluate(() => {
    window.dataLayer = window.dataLayer || [];
    window.fbq = function () { fbq.queue.push(arguments); };
    fbq.queue = [];
    fbq('track', 'PageView');
    fbq('trackCustom', 'Configured', { shade: 'red' });
    dataLayer.push({ event: 'view_item', ecommerce: { items: [{ item_id: 'p2' }] } });
  });
  const events = await stage.eventsOf(4);
  await page.waitForTimeout(700);
  assert.deepEqual(names(), ['pagevisit', 'addtocart', 'configured', 'viewcontent']); // the base code counted the visit
  assert.deepEqual(events[3].data.line_items, [{ product_id: 'p2' }]);
});

test('what was told in the last moment before leaving arrives', async () => {
  const page = await stage.visit('compat.html');
  await stage.eventsOf(2);
  await page.evaluate((next) => {
    fbq('track', 'Lead');
    location.href = next;
  }, stage.shopUrl + '/next.html');
  await stage.eventsOf(3);
  assert.deepEqual(names(), [...QUEUED, 'lead']);
  await page.waitForURL('**/next.html'); // a context that is closed on the way may never end
});

test('before consent nothing leaves and nothing is stored', async () => {
  const page = await stage.visit('compat-held.html');
  await page.quiet();
  await page.waitForTimeout(700);
  assert.deepEqual(page.others().filter((url) => !url.includes('/tag/compat.js')), []);
  assert.deepEqual((await page.traces()).cookies, []);
  assert.deepEqual((await page.traces()).local, []);
});
