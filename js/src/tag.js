/** The entry: takes over the base code's queue, so that commands given before and after meet the same session. */

import { openSession } from './session.js';

const collect = window.collect;
const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);

// No array: there is no base code, or another copy of this script has taken over already.
if (Array.isArray(collect?.queue) && script) {
  const run = openSession(script.src.replace(/\/tag(\/[^/]*)?\.js.*/, ''));
  const waiting = collect.queue;
  collect.queue = { push: run };
  waiting.forEach(run);
}
