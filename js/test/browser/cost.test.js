/**
 * What the tag costs a page's main thread. Milliseconds differ from machine to machine and swell on a busy one, so the
 * gate is a bare script in the same run, which does only what no tag can do without.
 */

import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { fillCosts } from '../../tables.js';
import { openStage, TAG } from './stage.js';

const LOADS = 8;
const SLOWER = 4; // a mid-range phone, as audits throttle for it
const MOST = 4; // times the bare script: measured 2.7, and half as much again

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

/** Inserts a script, renews a cookie, looks into storage, and sends two events. */
const bare = () => `<!doctype html><title>Bare</title><script>
  document.head.append(Object.assign(document.createElement('script'), { src: '${stage.collectorUrl}/tag.js?none' }));
  document.cookie = 'bare=1;Max-Age=60;Path=/';
  localStorage.getItem('bare' + document.cookie);
  const events = ['pagevisit', 'addtocart'].map((event) => ({ event, url: location.href, event_time: Date.now() / 1000 }));
  fetch('${stage.collectorUrl}/v1/events', { method: 'POST', credentials: 'include', keepalive: true,
    body: JSON.stringify({ tag: '${TAG}', events }) }).then((response) => response.json());
</script>`;

/** The least of some loads: processor milliseconds of the main thread in scripts, compiling and calls back included. */
const costOf = async (path, scripts) => {
  const costs = [];
  for (let load = 0; load < LOADS; load++) {
    const page = await stage.visit('next.html');
    stage.own['bare.html'] = { body: bare() };
    const cdp = await page.context().newCDPSession(page);
    const traced = [];
    cdp.on('Tracing.dataCollected', ({ value }) => traced.push(...value));
    await cdp.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['devtools.timeline'] } });
    await page.goto(`${stage.shopUrl}/${path}`);
    await stage.eventsOf(2);
    const complete = new Promise((done) => cdp.once('Tracing.tracingComplete', done));
    await cdp.send('Tracing.end');
    await complete;
    const ours = traced.filter(
      ({ name, args }) => /^(EvaluateScript|FunctionCall)$/.test(name) && scripts.test(args?.data?.url ?? ''),
    );
    assert.ok(ours.length, 'no script of ours is in the trace');
    costs.push(ours.reduce((sum, { tdur }) => sum + tdur, 0) / 1000);
  }
  const told = costs.filter(Number.isFinite); // now and then a trace lacks the processor's time of an event
  assert.ok(told.length >= LOADS / 2, `the processor's time is in ${told.length} of ${LOADS} traces`);
  return Math.min(...told);
};

test(`the tag costs the main thread at most ${MOST} times what a bare script costs`, async () => {
  const least = await costOf('bare.html', /bare\.html$/);
  const rows = [['a bare script that sends the same two events', least]];
  rows.push(['base code and `/tag.js`', await costOf('opt-out.html', /\/tag\.js$|opt-out\.html$/)]);
  rows.push(['`/tag/compat.js` and `/tag.js`, with four vendors’ calls', await costOf('compat.html', /\/tag\.js$|\/tag\/compat\.js/)]);
  const shown = rows.map(([what, ms]) => [what, ms.toFixed(1), (ms * SLOWER).toFixed(1)]);
  console.log(shown.map((row) => row.join(': ')).join('; '));
  if (process.env.COLLECTOR_TABLES) fillCosts(shown);
  for (const [what, ms] of rows) assert.ok(ms <= MOST * least, `${what}: ${ms} ms, and a bare script ${least} ms`);
});
