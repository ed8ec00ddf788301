import assert from 'node:assert/strict';
import test from 'node:test';
import { readCampaign, shapeEvent } from '../../src/event.js';

const shape = (name, data) => shapeEvent(name, data, 1763750000123, 'https://shop.test/cart?x=1#token=abc', 'https://a.test/');

test('an event has the wire’s fields, its time in seconds, and no fragment', () => {
  const { event_id, ...rest } = shape('AddToCart', { value: 12.5, line_items: [{ product_id: 'p1' }] });
  assert.match(event_id, /^[0-9a-f]{32}$/);
  assert.deepEqual(rest, {
    event: 'AddToCart',
    event_time: 1763750000.123,
    url: 'https://shop.test/cart?x=1',
    referrer: 'https://a.test/',
    data: { value: 12.5, line_items: [{ product_id: 'p1' }] },
  });
});

test('every event has an id of its own', () => {
  assert.equal(new Set(Array.from({ length: 1000 }, () => shape('pagevisit').event_id)).size, 1000);
});

test('the order makes the id of a checkout, under all of its names', () => {
  for (const name of ['checkout', 'Checkout', 'check_out', ' CHECKOUT ', 'purchase', 'Purchase'])
    assert.equal(shape(name, { order_id: 'A-1' }).event_id, 'checkout_A-1');
  assert.equal(shape('checkout', { order_id: 17 }).event_id, 'checkout_17');
});

test('nothing else takes its id from an order', () => {
  const others = [['addtocart', { order_id: 'A-1' }], ['checkout_started', { order_id: 'A-1' }]];
  for (const order_id of [undefined, null, '', {}, []]) others.push(['checkout', { order_id }]);
  for (const [name, data] of others) assert.match(shape(name, data).event_id, /^[0-9a-f]{32}$/);
});

test('the page’s own event_id comes first and is no event data', () => {
  const { event_id, data } = shape('checkout', { event_id: 'mine', order_id: 'A-1' });
  assert.deepEqual([event_id, data], ['mine', { order_id: 'A-1' }]);
});

test('data that is no object is left out, the event stays', () => {
  for (const data of [undefined, null, 'text', 7, true]) assert.deepEqual(shape('signup', data).data, {});
});

test('the page’s object is not touched', () => {
  const data = Object.freeze({ event_id: 'mine', value: 1 });
  shape('signup', data);
  assert.deepEqual(data, { event_id: 'mine', value: 1 });
});

const campaign = (search) => {
  const [clicks, utm] = [{}, {}];
  readCampaign(search, clicks, utm);
  return { clicks, utm };
};

test('click ids are the six that are known, when they say something', () => {
  const search = '?epik=e&fbclid=f&gclid=g&ttclid=t&li_fat_id=l&msclkid=m&other=u&email=a%40b.test';
  assert.deepEqual(campaign(search), {
    clicks: { epik: 'e', fbclid: 'f', gclid: 'g', ttclid: 't', li_fat_id: 'l', msclkid: 'm' },
    utm: {},
  });
  assert.deepEqual(campaign('?epik=&constructor=x&gclid=%E0%A4%A').clicks, { gclid: '\ufffd%A' });
});

test('the campaign’s words stay with the event, unless the page says the same itself', () => {
  const { utm } = campaign('?utm_source=pin&utm_campaign=fall&utm_=x&UTM_MEDIUM=y&utm_id=');
  assert.deepEqual(utm, { utm_source: 'pin', utm_campaign: 'fall' });
  const { data } = shapeEvent('lead', { utm_source: 'mine', value: 1 }, 0, 'https://shop.test/', '', utm);
  assert.deepEqual(data, { utm_source: 'mine', utm_campaign: 'fall', value: 1 });
});
