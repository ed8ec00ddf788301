/**
 * The entry: a page keeps its calls to other vendors' tags, and the collector hears them too.
 *
 *   <script async src="https://collect.shop.example/tag/compat.js?tag=2612345678901"></script>
 *
 * With `tag` (and `regime`) it is the whole installation; without, it adds to the base code. Consent to a
 * vendor is no consent to the site, so only events are taken over.
 */

import { openConversions } from './once.js';
import { listen } from './vendors.js';
import { safely } from './watch.js';

/** @typedef {import('./once.js').Conversion} Conversion */

/** Milliseconds in which vendors tell each other's missing fields; then an event goes out. */
const GATHER = 500;

/** @type {Conversion[]} */
let gathered = [];
const count = openConversions();
/** @type {any} the page's own, until it has gone */
const visit = { name: 'pagevisit', time: Date.now(), data: {}, own: true };

const flush = () => {
  const queue = window.collect?.queue;
  if (!queue) return; // the base code comes later: at the next event, or on leaving
  for (const { said, time, data, eventId, own } of gathered.splice(0)) {
    // Of a checkout's order the tag makes an id that outlives the page view, checkout_<order_id>: better than a vendor's.
    const given = { ...data, event_id: said === 'checkout' && data.order_id ? undefined : eventId };
    queue.push([time, own ? ['page', given] : ['track', said, given]]);
  }
};

/** @param {import('./once.js').Told} told */
const tell = (told) => {
  // The tag counts page visits itself, and those of single-page applications: a vendor's adds its products.
  if (told.name === 'pagevisit' && !told.data.line_items) return;
  const conversion = count(told);
  if (conversion.tellers[1]) return; // told before
  if (told.name === 'pagevisit' && gathered[0] === visit) (gathered[0] = conversion).own = true;
  else {
    if (!gathered[0]) setTimeout(flush, GATHER);
    gathered.push(conversion);
  }
};

const page = /** @type {any} */ (window);
/** @type {any} */
const script = document.currentScript;
const asked = new URLSearchParams(script?.src.split('?')[1]);
const again = page._collectorHears; // the line may stand on a page twice
const tag = !again && asked.get('tag'); // with it, it is the whole installation
page._collectorHears = true;

if (tag) {
  // An element of that id has no queue.
  if (!page.collect?.queue) {
    page.collect = function () {
      page.collect.queue.push([Date.now(), arguments]);
    };
    page.collect.queue = [];
  }
  page.collect('load', tag, { regime: asked.get('regime') });
  gathered.push(visit);
  setTimeout(flush, GATHER);
}

addEventListener('pagehide', flush, true); // before the tag's own, which sends what it has
addEventListener('visibilitychange', flush, true);
// Before a single-page application moves on, so that an event keeps its URL.
page.navigation?.addEventListener('navigate', flush);
if (!again) listen(tell);

// Last, because a page that asks for Trusted Types refuses it, and must not see that as an error of its own.
if (tag)
  safely(() => {
    const element = document.createElement('script');
    element.nonce = script.nonce;
    // …/tag/compat.js → …/tag.js, …/tag/compat-1.2.3.js → …/tag/1.2.3.js
    element.src = script.src.replace(/\/compat(\.js).*|compat-/, '$1');
    document.head.append(element);
  });
