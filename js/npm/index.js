/** The tag's words for bundled sites. Importing it does nothing; on a server every word does nothing. */

/** @typedef {typeof import('./index.d.ts')} Words */

/**
 * Hands a command to the tag, or to the queue that it takes over when it comes: words may come before load.
 * @param {any[]} command
 */
const say = (...command) => {
  if (typeof window === 'undefined') return;
  const page = /** @type {any} */ (window);
  if (!page.collect?.queue) { // an element of that id has none
    page.collect = function () {
      page.collect.queue.push([Date.now(), arguments]);
    };
    page.collect.queue = [];
  }
  page.collect(...command);
};

/** @type {Words['load']} */
export const load = (tag, { collector, script = collector && collector.replace(/\/$/, '') + '/tag.js', integrity, nonce, ...options }) => {
  if (typeof document === 'undefined') return;
  // A build without the variable that holds it is no reason for the site to break.
  if (!script) return console.warn('[collector] load: the collector’s URL is missing');
  say('load', tag, options);
  // A second tag, or a component that is mounted twice, needs no second script.
  if (document.querySelector(`script[src=${JSON.stringify(script)}]`)) return;
  const element = document.createElement('script');
  element.async = true;
  if (integrity) {
    element.integrity = integrity;
    element.crossOrigin = 'anonymous';
  }
  if (nonce) element.nonce = nonce;
  try {
    element.src = script;
    document.head.append(element);
  } catch {} // a page that asks for Trusted Types refuses it, and says so on the console
};

/** @type {Words['page']} */
export const page = (data, callback) => say('page', data, callback);

/** @type {Words['track']} */
export const track = (event, data, callback) => say('track', event, data, callback);

/** @type {Words['set']} */
export const set = (identity) => say('set', identity);

/** @type {Words['setConsent']} */
export const setConsent = (granted) => say('setconsent', granted);

/** @type {Words['consent']} */
export const consent = (action, words) => say('consent', action, words);

/** @type {Words['status']} */
export const status = (callback) => say('status', callback);

/** @type {Words['debug']} */
export const debug = () => say('debug');
