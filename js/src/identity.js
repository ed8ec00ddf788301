/** Who the site says the visitor is: an address or a number leaves the page as its SHA-256 only. */

import { hex } from './random.js';

/**
 * Lower-case hex digest, in the form in which ad platforms hash: an address trimmed and in lower case, a number
 * with its country code as digits without leading zeros. What is a digest already is kept; undefined for what
 * can be nobody's, such as «undefined», and where the page is not secure (http): the browser has no SHA-256
 * there, and plain text never goes.
 * @param {'em' | 'ph'} name
 * @param {unknown} value
 */
export const hashed = async (name, value) => {
  let text = String(value).trim().toLowerCase();
  if (/^[\da-f]{64}$/.test(text)) return text;
  if (name === 'ph') text = text.replace(/^[\D0]+|\D/g, '');
  // Seven digits: the shortest numbers with a country code; fifteen: E.164's longest.
  return (
    (/^ph.{7,15}$|^em[^]*.@./.test(name + text) &&
      hex(await crypto.subtle?.digest('SHA-256', new TextEncoder().encode(text)))) ||
    undefined
  );
};
