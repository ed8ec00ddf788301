import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { hashed } from '../../src/identity.js';

const WIRE = JSON.parse(readFileSync(new URL('../../../tests/vectors/wire.json', import.meta.url), 'utf8'));
const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const DIGEST = sha256('ann@shop.test');

test('an address is trimmed, lower-cased and hashed', async () => {
  for (const em of ['ann@shop.test', '  Ann@Shop.TEST\n']) assert.equal(await hashed('em', em), DIGEST);
});

test('a number is reduced to its digits without leading zeros, and hashed', async () => {
  for (const ph of ['+1 (650) 555-1212', '001 650 555 1212', 16505551212])
    assert.equal(await hashed('ph', ph), sha256('16505551212'));
});

test('a digest is kept, in lower case', async () => {
  for (const name of ['em', 'ph'])
    for (const digest of [DIGEST, DIGEST.toUpperCase()]) assert.equal(await hashed(name, digest), DIGEST);
});

test('what can be nobody’s is left out', async () => {
  for (const em of ['undefined', '', '@', 'ann@', '@shop.test', 'g' + DIGEST.slice(1)])
    assert.equal(await hashed('em', em), undefined);
  for (const ph of ['12', 'null', '0000000', '1234567890123456']) assert.equal(await hashed('ph', ph), undefined);
});

test('the tag and the edge agree on what is kept of user data', async () => {
  const rows = WIRE.filter(({ request, stored }) => request.user_data?.constructor === Object && stored[0]?.user_data);
  assert.ok(rows.length);
  for (const { promise, request, stored } of rows)
    for (const name of ['em', 'ph'])
      if (name in request.user_data)
        assert.equal(await hashed(name, request.user_data[name]), stored[0].user_data[name], promise);
});
