import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { hashEmail } from '../../src/identity.js';

const DIGEST = createHash('sha256').update('ann@shop.test').digest('hex');

test('an address is trimmed, lower-cased and hashed', async () => {
  for (const em of ['ann@shop.test', '  Ann@Shop.TEST\n']) assert.equal(await hashEmail(em), DIGEST);
});

test('a digest is kept, in lower case', async () => {
  assert.equal(await hashEmail(DIGEST), DIGEST);
  assert.equal(await hashEmail(DIGEST.toUpperCase()), DIGEST);
});

test('what only looks like a digest is hashed', async () => {
  const almost = 'g' + DIGEST.slice(1);
  assert.equal(await hashEmail(almost), createHash('sha256').update(almost).digest('hex'));
});
