/**
 * A shop, a collector and a real browser. The shop serves pages/, each with the committed snippet in it; the
 * collector serves the committed tag and writes down all that reaches it. They are two origins of one site, as a
 * shop and its collector's subdomain are.
 */

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { STATIC } from '../../build.js';

export const TAG = '2612345678901';
const MANIFEST = JSON.parse(readFileSync(join(STATIC, 'tag.json'), 'utf8'));
const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');

/** @param {import('node:http').RequestListener} listener */
const listen = async (listener) => {
  const server = createServer(listener);
  await new Promise((done) => server.listen(0, 'localhost', done));
  return server;
};

/** The snippet as `collector tag snippet` prints it. */
const snippet = (collector, regime, pinned) => {
  const { version } = MANIFEST;
  const values = {
    collector,
    regime,
    tag: TAG,
    vendor: '',
    script: pinned ? `${collector}/tag/${version}.js` : `${collector}/tag.js`,
    integrity: MANIFEST.integrity[version],
  };
  return readFileSync(join(STATIC, pinned ? 'snippet.pinned.html' : 'snippet.html'), 'utf8')
    .replace(regime === 'opt_in' ? /<noscript>.*\n/ : '', '')
    .replace(/\{\{(\w+)\}\}/g, (_, name) => values[name]);
};

/** A fixture page, with `{{snippet}}`, `{{snippet opt_out}}`, `{{snippet opt_in pinned}}` or `{{compat}}` filled in. */
export const fixture = (name, collector) =>
  readFileSync(new URL(`pages/${name}.html`, import.meta.url), 'utf8')
    .replace('{{compat}}', `<script async src="${collector}/tag/compat.js?tag=${TAG}"></script>`)
    .replace(/\{\{snippet ?(\w*) ?(\w*)\}\}/, (_, regime, pinned) => snippet(collector, regime || 'opt_in', pinned));

export const openStage = async () => {
  /** @type {import('playwright-core').BrowserContext | undefined} */
  let last;
  /** @type {{ method: string, path: string, headers: import('node:http').IncomingHttpHeaders, body: any, bytes: number, answered?: boolean }[]} */
  let seen = [];
  const stage = {
    scriptDelay: 0, // milliseconds before the tag arrives
    answerDelay: 0, // and before events are answered
    /** @type {(event: any) => object} the collector's result for an event */
    answer: () => ({ outcome: 'accepted', reason: 'full' }),
    status: 200,
    /** @type {Record<string, string>} beside the usual ones */
    headers: {},
    cut: false, // the connection breaks before the answer
    /** @type {Record<string, { headers?: Record<string, string>, body: string }>} pages of a test's own, by name */
    own: {},
  };

  const collector = await listen((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const { method, url: path, headers } = request;
      const script = path.match(/^\/(tag\.js|tag\/[^?]*\.js)(\?.*)?$/);
      if (script) {
        response.writeHead(200, { 'Content-Type': 'text/javascript', 'Access-Control-Allow-Origin': '*' });
        setTimeout(() => response.end(readFileSync(join(STATIC, script[1]))), stage.scriptDelay);
        return;
      }
      const said = Buffer.concat(chunks).toString();
      const body = method === 'POST' ? JSON.parse(said) : undefined;
      const note = { method, path, headers, body, bytes: Buffer.byteLength(said), answered: undefined };
      seen.push(note);
      response.on('close', () => (note.answered = response.writableFinished)); // false: the browser hung up
      response.setHeader('Access-Control-Allow-Origin', headers.origin || '*');
      response.setHeader('Access-Control-Allow-Credentials', 'true');
      if (path.startsWith('/v1/pixel.gif')) return response.setHeader('Content-Type', 'image/gif').end(GIF);
      if (stage.cut) return request.socket.destroy();
      const results = body?.events.map((event) => ({ event_id: event.event_id, ...stage.answer(event) }));
      response.writeHead(stage.status, {
        'Content-Type': 'application/json',
        'Access-Control-Expose-Headers': 'x-collector-optout, retry-after',
        ...stage.headers,
      });
      const error = { code: 'some_code', message: 'What happened.', hint: 'What to do.' };
      const text = JSON.stringify(stage.status < 300 ? { results } : { error }); // now: the test may change the status
      setTimeout(() => response.end(text), stage.answerDelay);
    });
  });
  const collectorUrl = `http://localhost:${collector.address().port}`;

  const shop = await listen((request, response) => {
    const name = new URL(request.url, 'http://shop').pathname.slice(1);
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    const own = stage.own[name];
    if (own) return response.writeHead(200, own.headers).end(own.body);
    response.end(name.endsWith('.html') ? fixture(name.slice(0, -5), collectorUrl) : '<!doctype html><p>elsewhere');
  });
  const port = shop.address().port;

  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
      // An http host that is no localhost: the browser gives it no crypto.subtle.
      '--host-resolver-rules=MAP plain.test 127.0.0.1, MAP *.shop.example 127.0.0.1, MAP *.github.io 127.0.0.1',
    ],
  });

  const poll = async (ready, what) => {
    for (const end = Date.now() + 5000; !ready(); await new Promise((done) => setTimeout(done, 5)))
      if (Date.now() > end) throw new Error(`no ${what} within 5 s; seen: ${JSON.stringify(seen, null, 1)}`);
  };
  const bodies = () => seen.filter(({ method }) => method === 'POST').map(({ body }) => body);
  const events = () => bodies().flatMap((body) => body.events);

  return Object.assign(stage, {
    collectorUrl,
    shopUrl: `http://localhost:${port}`,
    plainUrl: `http://plain.test:${port}`,
    /** @param {string} host */
    at: (host) => `http://${host}:${port}`,
    seen: () => seen,
    bodies,
    events,

    /** Waits until that many events have come in. */
    async eventsOf(count) {
      await poll(() => events().length >= count, `${count} events`);
      return events();
    },

    /** Waits until the last request is over; whether it was answered, or the browser hung up. */
    async lastAnswered() {
      await poll(() => seen.at(-1)?.answered !== undefined, 'end of the last request');
      return seen.at(-1).answered;
    },

    /** Waits until that many bodies have come in. */
    async bodiesOf(count) {
      await poll(() => bodies().length >= count, `${count} bodies`);
      return bodies();
    },

    /**
     * A page of a new visitor, with everything forgotten that earlier tests did.
     * @param {string} path such as «held.html»
     * @param {{ init?: () => void, origin?: string, context?: import('playwright-core').BrowserContext, javaScriptEnabled?: boolean }} [options]
     */
    async visit(path, { init, origin = this.shopUrl, context, javaScriptEnabled = true } = {}) {
      if (!context) {
        // First: its pages may still send. A page on its way to another keeps Chromium from ever closing, now and then.
        await Promise.race([last?.close(), new Promise((done) => setTimeout(done, 5000))]);
        seen = [];
        Object.assign(stage, { scriptDelay: 0, answerDelay: 0, status: 200, headers: {}, cut: false, answer: () => ({ outcome: 'accepted', reason: 'full' }) });
        context = last = await browser.newContext({ javaScriptEnabled });
      }
      const page = await context.newPage();
      const requests = [];
      const errors = [];
      page.on('request', (request) => requests.push(request.url()));
      page.on('pageerror', (error) => errors.push(error.message));
      if (init) await page.addInitScript(init);
      await page.goto(`${origin}/${path}`);
      return Object.assign(page, {
        requests,
        errors,

        /** Returns when the tag has heard all commands and whatever it wanted to send is on its way. */
        async quiet() {
          await page.waitForFunction(() => !Array.isArray(window.collect.queue));
          await page.evaluate(async () => {
            await new Promise((done) => setTimeout(done, 30));
            await fetch('/marker');
          });
        },

        /** All that the visit left on the device. */
        traces: async () => ({
          cookies: (await context.cookies()).map(({ name }) => name),
          ...(await page.evaluate(async () => ({
            local: Object.keys(localStorage),
            session: Object.keys(sessionStorage),
            databases: (await indexedDB.databases()).map(({ name }) => name),
            caches: await caches.keys(),
          }))),
        }),

        /** Requests beside the page itself, the tag's script and the marker of quiet(). */
        others: () => requests.filter((url) => !/\.html(\?|$)|\/tag(\/[\d.]+)?\.js$|\/marker$|\/favicon\.ico$/.test(url)),
      });
    },

    async close() {
      await browser.close();
      for (const server of [collector, shop]) {
        server.closeAllConnections();
        server.close();
      }
    },
  });
};

export const NO_TRACE = { cookies: [], local: [], session: [], databases: [], caches: [] };
