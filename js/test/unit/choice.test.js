import assert from 'node:assert/strict';
import test from 'node:test';
import { openChoice } from '../../src/choice.js';

test('a call changes the words it names and no others', () => {
  const choice = openChoice(() => {});
  choice.update({ ad_storage: 'granted', ad_user_data: 'denied', analytics_storage: 'granted' });
  choice.update({ ad_user_data: 'granted', ad_personalization: undefined, ad_storage: null });
  assert.deepEqual(choice.signals().words, { ad_storage: 'granted', ad_user_data: 'granted' });
});

test('a default never beats an update, even when it comes late', () => {
  const choice = openChoice(() => {});
  choice.update({ ad_storage: 'denied' });
  choice.preset({ ad_storage: 'granted', ad_user_data: 'granted', wait_for_update: 500 }, Date.now());
  assert.deepEqual(choice.signals(), { words: { ad_storage: 'denied', ad_user_data: 'granted' }, waiting: false });
});

test('wait_for_update counts from the call, not from the day the tag arrived', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 10_000 });
  let woken = 0;
  const choice = openChoice(() => woken++);
  choice.preset({ ad_storage: 'denied', wait_for_update: 500 }, 9_800);
  t.mock.timers.tick(299);
  assert.deepEqual([choice.signals().waiting, woken], [true, 0]);
  t.mock.timers.tick(1);
  assert.deepEqual([choice.signals().waiting, woken], [false, 1]);
});

test('an update ends the wait', () => {
  const choice = openChoice(() => {});
  choice.preset({ ad_storage: 'denied', wait_for_update: 5 }, Date.now());
  choice.update({ ad_storage: 'granted' });
  assert.equal(choice.signals().waiting, false);
});

test('a wait that is no number of milliseconds is no wait', () => {
  for (const wait_for_update of [0, -1, 'soon', NaN, null]) {
    const choice = openChoice(() => {});
    choice.preset({ ad_storage: 'denied', wait_for_update }, Date.now());
    assert.equal(choice.signals().waiting, false);
  }
});

test('setconsent speaks for all three words, where there are none', () => {
  for (const word of ['granted', 'denied', 'malformed']) {
    const choice = openChoice(() => {});
    choice.say(word);
    assert.deepEqual(choice.signals().words, { ad_storage: word, ad_user_data: word, ad_personalization: word });
  }
});

test('of setconsent and the words the stricter counts', () => {
  const result = (word, words) => {
    const choice = openChoice(() => {});
    choice.say(word);
    choice.update(words);
    return choice.signals().words;
  };
  const mixed = { ad_storage: 'granted', ad_user_data: 'denied' };
  assert.deepEqual(result('granted', mixed), mixed);
  assert.deepEqual(result('malformed', mixed), { ad_storage: 'malformed', ad_user_data: 'denied' });
  const denied = { ad_storage: 'denied', ad_user_data: 'denied', ad_personalization: 'denied' };
  assert.deepEqual(result('denied', { ad_storage: 'x', ad_user_data: 'granted' }), denied);
});

test('a word that is no text can never be read as one', () => {
  const choice = openChoice(() => {});
  choice.update({ ad_storage: ['granted'], ad_user_data: { toString: () => 'granted' }, ad_personalization: true });
  assert.deepEqual(choice.signals().words, {
    ad_storage: 'object', ad_user_data: 'object', ad_personalization: 'boolean',
  });
});
