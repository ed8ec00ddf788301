/** The address of an application that changes pages without loading them. */

import { wrap } from './wrap.js';

/** An address as visits are told apart: fragments are places on a page. @param {string} url */
export const pageOf = (url) => url.split('#')[0];

/**
 * Calls back once the script that changed the address is done, so that a redirect in the same breath, and
 * the page's own call, come first.
 * @param {() => void} moved
 */
export const watchRoute = (moved) => {
  wrap(history, 'pushState', moved);
  wrap(history, 'replaceState', moved);
  addEventListener('popstate', moved);
};
