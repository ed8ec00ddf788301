import assert from 'node:assert/strict';
import test from 'node:test';
import { BODY_LIMIT, fill, intoBatches } from '../../src/batch.js';

const ENVELOPE = JSON.stringify({ tag: '2612345678901', events: [] });
const item = (text) => ({ json: JSON.stringify({ event: text }) });
const bodies = (held) => intoBatches(held, Buffer.byteLength(ENVELOPE)).map((batch) => fill(ENVELOPE, batch));

test('a body is the JSON that it would be in one piece', () => {
  const names = ['pagevisit', 'with "quotes", commas and ]}', 'café 🛒'];
  assert.deepEqual(bodies(names.map(item)).map(JSON.parse), [
    { tag: '2612345678901', events: names.map((event) => ({ event })) },
  ]);
});

test('no event makes one empty body, which is how a withdrawal goes', () => {
  assert.deepEqual(bodies([]), [ENVELOPE]);
});

test('bodies stay under 60 kB in bytes, not characters, and lose or reorder nothing', () => {
  const held = Array.from({ length: 300 }, (_, index) => item(index + '🛒'.repeat((index * 37) % 400)));
  const sent = bodies(held);
  assert.ok(sent.length > 1);
  for (const body of sent) assert.ok(Buffer.byteLength(body) <= BODY_LIMIT && BODY_LIMIT < 64 * 1024);
  assert.deepEqual(sent.flatMap((body) => JSON.parse(body).events), held.map(({ json }) => JSON.parse(json)));
});

test('an event too large for a body goes alone', () => {
  const sent = bodies([item('a'), item('x'.repeat(70_000)), item('b')]);
  assert.deepEqual(sent.map((body) => JSON.parse(body).events.length), [1, 1, 1]);
});
