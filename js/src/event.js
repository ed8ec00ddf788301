/** The wire shape of one event. Pure but for the random id. */

import { randomHex } from './random.js';
import { pageOf } from './route.js';

const KEPT = /^(epik|(fb|g|tt)clid|li_fat_id|msclkid|utm_\w+)$/;

/**
 * What an advertisement left in the address, into the click ids of ad platforms and the campaign's words.
 * @param {string} search
 * @param {Record<string, string>} clicks
 * @param {Record<string, string>} utm
 */
export const readCampaign = (search, clicks, utm) => {
  for (const [name, value] of new URLSearchParams(search))
    if (KEPT.test(name) && value) (/^utm/.test(name) ? utm : clicks)[name] = value;
};

/**
 * The id is the page's own (event data `event_id`), else the order's on a checkout, so that a reload of the
 * thank-you page or the server's copy of the order is a duplicate; else a new one.
 * @param {unknown} name judged and canonicalised by the collector
 * @param {any} data what is no object is left out
 * @param {number} time Unix milliseconds of the call
 * @param {string} url
 * @param {string} referrer
 * @param {Record<string, string>} [utm] the campaign's words, where the page does not say the same itself
 */
export const shapeEvent = (name, data, time, url, referrer, utm) => {
  const { event_id, ...rest } = typeof data === 'object' && data || {};
  return {
    event_id:
      event_id ||
      (/^\s*(check_?out|purchase)\s*$/i.test(/** @type {any} */ (name)) &&
        rest.order_id &&
        typeof rest.order_id !== 'object' &&
        'checkout_' + rest.order_id) ||
      randomHex(),
    event_time: time / 1000,
    url: pageOf(url), // fragments carry tokens, and the collector would cut them anyway
    event: name,
    referrer,
    data: { ...utm, ...rest },
  };
};
