/** Who the site says the visitor is: an e-mail address leaves the page as its SHA-256 only. */

import { hex } from './random.js';

/**
 * Lower-case hex digest of the trimmed, lower-cased address; what is a digest already is kept.
 * Rejects where the page is not secure (http): the browser has no SHA-256 there, and plain text never goes.
 * @param {unknown} em
 */
export const hashEmail = async (em) => {
  const text = String(em).trim().toLowerCase();
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))));
};
