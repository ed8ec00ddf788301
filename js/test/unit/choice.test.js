import assert from 'node:assert/strict';
import test from 'node:test';
import { openChoice, strictest } from '../../src/choice.js';

const open = (wake = () => {}) => openChoice(wake);
const waits = ({ until }) => Date.now() < until;
const now = () => Date.now();

test('a call changes the words it names and no others', () => {
  const choice = open();
  choice.heed('update', { ad_storage: 'granted', ad_user_data: 'denied', analytics_storage: 'granted' }, now());
  choice.heed('update', { ad_user_data: 'granted', ad_personalization: undefined, ad_storage: null }, now());
  assert.deepEqual(choice.words, { ad_storage: 'granted', ad_user_data: 'granted' });
});

test('a default never beats an update, even when it comes late', () => {
  const choice = open();
  choice.heed('update', { ad_storage: 'denied' }, now());
  choice.heed('default', { ad_storage: 'granted', ad_user_data: 'granted', wait_for_update: 500 }, now());
  assert.deepEqual(choice.words, { ad_storage: 'denied', ad_user_data: 'granted' });
  assert.equal(waits(choice), false);
});

test('a call that is neither default nor update says nothing', () => {
  const choice = open();
  choice.heed('declare', { ad_storage: 'granted' }, now());
  assert.deepEqual(choice.words, {});
});

test('of defaults for regions the denials count, because where the visitor is, is not known', () => {
  const choice = open();
  choice.heed('default', { ad_storage: 'denied', ad_user_data: 'granted', region: ['DE'] }, now());
  assert.deepEqual(choice.words, { ad_storage: 'denied' });
  choice.heed('default', { ad_storage: 'granted', ad_user_data: 'granted' }, now());
  assert.deepEqual(choice.words, { ad_storage: 'denied', ad_user_data: 'granted' });
  choice.heed('update', { ad_storage: 'granted' }, now());
  assert.deepEqual(choice.words, { ad_storage: 'granted', ad_user_data: 'granted' });
});

test('wait_for_update counts from the call, not from the day the tag arrived', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 10_000 });
  let woken = 0;
  const choice = open(() => woken++);
  choice.heed('default', { ad_storage: 'denied', wait_for_update: 500 }, 9_800);
  t.mock.timers.tick(299);
  assert.deepEqual([waits(choice), woken], [true, 0]);
  t.mock.timers.tick(2);
  assert.deepEqual([waits(choice), woken], [false, 1]);
});

test('an update ends the wait', () => {
  const choice = open();
  choice.heed('default', { ad_storage: 'denied', wait_for_update: 5 }, now());
  choice.heed('update', { ad_storage: 'granted' }, now());
  assert.equal(waits(choice), false);
});

test('an update that says none of the words, but analytics’ alone, is no answer: the wait goes on', () => {
  const choice = open();
  choice.heed('default', { ad_storage: 'denied', wait_for_update: 500 }, now());
  choice.heed('update', { analytics_storage: 'granted' }, now());
  assert.equal(waits(choice), true);
});

test('a wait may be said as text', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1e12 });
  const choice = open();
  choice.heed('default', { ad_storage: 'denied', wait_for_update: '500' }, now());
  assert.equal(choice.until, now() + 500);
});

test('a wait that is no number of milliseconds is no wait', () => {
  for (const wait_for_update of [0, -1, 'soon', NaN, null]) {
    const choice = open();
    choice.heed('default', { ad_storage: 'denied', wait_for_update }, now());
    assert.equal(waits(choice), false);
  }
});

test('of several voices the strictest counts, word by word; absent beside present is a denial', () => {
  const words = (ad_storage, ad_user_data, ad_personalization) => ({ ad_storage, ad_user_data, ad_personalization });
  const yes = words('granted', 'granted', 'granted');
  assert.deepEqual(strictest([{}, {}, {}]), {});
  assert.deepEqual(strictest([{}, { ad_storage: 'granted' }]), words('granted', 'denied', 'denied'));
  assert.deepEqual(strictest([yes, {}, { ad_storage: 'granted' }]), words('granted', 'denied', 'denied'));
  assert.deepEqual(strictest([yes, words('granted', 'x', 'denied')]), words('granted', 'x', 'denied'));
  assert.deepEqual(strictest([words('denied', 'x', 'y'), yes]), words('denied', 'x', 'y'));
  assert.deepEqual(strictest([words('denied', 'granted', 'string'), yes]), words('denied', 'granted', 'string'));
});

test('a word that is no text can never be read as one', () => {
  const choice = open();
  const odd = { ad_storage: ['granted'], ad_user_data: { toString: () => 'granted' }, ad_personalization: true };
  choice.heed('update', odd, now());
  assert.deepEqual(choice.words, { ad_storage: 'object', ad_user_data: 'object', ad_personalization: 'boolean' });
});
