import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { openStage, TAG } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

const SECOND = '2699999999999';
const of = (tag) => stage.bodies().filter((body) => body.tag === tag);

test('several tags on a page each get every event once, and the page one answer', async () => {
  const page = await stage.visit('several.html');
  await stage.eventsOf(4);
  await page.waitForFunction(() => window.told.length > 0);
  await page.waitForTimeout(100);
  for (const tag of [TAG, SECOND])
    assert.deepEqual(of(tag).flatMap(({ events }) => events.map(({ event }) => event)), ['pagevisit', 'checkout'], tag);
  assert.deepEqual(of(TAG)[0].events, of(SECOND)[0].events); // the same ids, so that a server's copy fits both
  assert.equal(of(TAG)[0].visitor, of(SECOND)[0].visitor);
  assert.deepEqual(await page.evaluate(() => window.told), [true]);
});

test('a withdrawal is told to each of them', async () => {
  const page = await stage.visit('several.html');
  await stage.eventsOf(4);
  await page.evaluate(() => collect('setconsent', false));
  await stage.bodiesOf(4);
  assert.deepEqual(stage.bodies().slice(2).map(({ tag, withdraw }) => [tag, withdraw]), [[TAG, true], [SECOND, true]]);
});
