import assert from 'node:assert/strict';
import test from 'node:test';
import { openConversions } from '../../compat/once.js';
import { dataOf, nameOf } from '../../compat/translate.js';

test('vendors’ names are the collector’s', () => {
  for (const [ours, theirs] of Object.entries({
    pagevisit: ['PageView', 'page_view', 'PageVisit', 'pagevisit', 'page'],
    checkout: ['Purchase', 'purchase', 'CompletePayment', 'PlaceAnOrder', 'checkout', 'Checkout'],
    viewcontent: ['ViewContent', 'view_item'],
    viewcategory: ['ViewCategory', 'view_item_list'],
    addtocart: ['AddToCart', 'add_to_cart', 'addtocart'],
    addtowishlist: ['AddToWishlist', 'add_to_wishlist'],
    addpaymentinfo: ['AddPaymentInfo', 'add_payment_info'],
    initiatecheckout: ['InitiateCheckout', 'begin_checkout'],
    signup: ['CompleteRegistration', 'sign_up', 'Signup'],
    lead: ['Lead', 'generate_lead', 'SubmitForm'],
    search: ['Search', 'search', 'view_search_results'],
    configured: ['Configured'],
    constructor: ['constructor'],
  }))
    for (const name of theirs) assert.equal(nameOf(name), ours, name);
});

test('products come as line items, whatever a vendor calls them', () => {
  const item = { product_id: 'p1', product_name: 'Boot', product_category: 'Shoes', product_price: 49.95, product_quantity: 2 };
  for (const data of [
    { line_items: [item] },
    { line_items: item },
    { contents: [{ id: 'p1', content_name: 'Boot', content_category: 'Shoes', item_price: 49.95, quantity: 2 }] },
    { contents: [{ content_id: 'p1', content_name: 'Boot', content_category: 'Shoes', price: 49.95, quantity: 2 }] },
    { items: [{ item_id: 'p1', item_name: 'Boot', item_category: 'Shoes', price: 49.95, quantity: 2, promotions: [{}] }] },
    { content_id: 'p1', content_name: 'Boot', content_category: 'Shoes', price: 49.95, quantity: 2, value: 99.9, currency: 'EUR' },
  ])
    assert.deepEqual(dataOf(data).line_items, [item]);
  const more = { product_variant_id: 'v1', item_category2: 'Winter', discount: 5 };
  assert.deepEqual(dataOf({ items: [{ item_id: 'p1', ...more }] }).line_items, [{ product_id: 'p1', ...more }]);
  assert.deepEqual(dataOf({ content_ids: ['p1', 2] }).line_items, [{ product_id: 'p1' }, { product_id: 2 }]);
  assert.deepEqual(dataOf({ content_ids: 'p1' }).line_items, [{ product_id: 'p1' }]);
});

test('orders and searches have the collector’s fields, and nothing nested comes along, nor an address or number', () => {
  assert.deepEqual(
    dataOf({
      transaction_id: 'A-17', value: '99.90', currency: 'EUR', num_items: 2, coupon: 'X', search_string: 'boots',
      send_to: 'AW-1/2', 'gtm.uniqueEventId': 7, user_data: { email: 'ann@shop.test' }, event_callback() {},
      email: 'ann@shop.test', userEmail: 'ann@shop.test', phone_number: '+46701234567', visitorPhone: '+46701234567', shade: 'red',
    }),
    { order_id: 'A-17', value: '99.90', currency: 'EUR', order_quantity: 2, promo_code: 'X', search_query: 'boots', shade: 'red' },
  );
  for (const data of [undefined, null, 'text', 7, true]) assert.deepEqual(dataOf(data), {});
});

/** Tells one ledger all of them; how many events come of it. */
const count = (...all) => {
  const conversions = openConversions();
  return new Set(all.map((told) => conversions({ name: 'checkout', pixel: 'fbq', time: 0, data: {}, ...told }))).size;
};

test('what several vendors are told of counts once', () => {
  assert.equal(count({ pixel: 'fbq' }, { pixel: 'ttq' }, { pixel: 'pintrk' }), 1);
  assert.equal(count({ pixel: 'fbq', data: { value: 9.9 } }, { pixel: 'ttq', data: { value: '9.90' } }, { pixel: 'gtag' }), 1);
  assert.equal(count({ pixel: 'fbq', eventId: 'e' }, { pixel: 'ttq', eventId: 'e', time: 1e7 }), 1);
  assert.equal(count({ data: { order_id: 17 } }, { data: { order_id: '17' }, time: 1e7 }), 1);
  assert.equal(count({ pixel: 'fbq', eventId: '17' }, { pixel: 'gtag', data: { order_id: '17' }, time: 1e7 }), 1);
});

test('two conversions stay two', () => {
  assert.equal(count({}, {}), 2); // one vendor told twice
  assert.equal(count({ pixel: 'fbq' }, { pixel: 'ttq' }, { pixel: 'fbq' }, { pixel: 'ttq' }), 2);
  assert.equal(count({ pixel: 'fbq' }, { pixel: 'fbq' }, { pixel: 'ttq' }, { pixel: 'ttq' }), 2);
  assert.equal(count({ pixel: 'fbq' }, { pixel: 'ttq', time: 6000 }), 2);
  assert.equal(count({ pixel: 'fbq', data: { value: 1 } }, { pixel: 'ttq', data: { value: 2 } }), 2);
  assert.equal(count({ pixel: 'fbq', data: { value: 1, currency: 'EUR' } }, { pixel: 'ttq', data: { value: 1, currency: 'SEK' } }), 2);
  assert.equal(count({ pixel: 'fbq', data: { order_id: 'a' } }, { pixel: 'ttq', data: { order_id: 'b' } }), 2);
  assert.equal(count({ pixel: 'fbq' }, { pixel: 'ttq', name: 'lead' }), 2);
});

test('other data by the same word is another click, whoever takes the call', () => {
  const [stub, library] = [() => {}, () => {}];
  assert.equal(count({ via: undefined, given: { id: 1 } }, { via: stub, given: { id: 2 }, time: 900 }), 2);
  assert.equal(count({ via: stub, given: { id: 1 } }, { via: library, given: { id: 2 }, time: 900 }), 2);
  assert.equal(count({ via: stub }, { via: library, time: 900 }), 1); // without data nobody can tell
});

test('a library that tells itself again what its stub had queued adds nothing', () => {
  const [stub, library, given] = [() => {}, () => {}, { value: 1 }];
  assert.equal(count({ via: stub, given }, { via: library, given, time: 60000 }), 1);
  assert.equal(count({ via: stub, given }, { via: library, given, time: 60000 }, { via: library, given, time: 61000 }), 2);
});

test('a conversion has what any of its tellers said, and keeps what the first one said', () => {
  const conversions = openConversions();
  const told = { name: 'checkout', time: 0 };
  conversions({ ...told, pixel: 'fbq', data: { value: 9.9, currency: 'EUR' }, eventId: 'e' });
  const { data, eventId } = conversions({ ...told, pixel: 'gtag', data: { value: '9.90', order_id: 'A-17' } });
  assert.deepEqual([data, eventId], [{ value: 9.9, currency: 'EUR', order_id: 'A-17' }, 'e']);
});
