/** The wire shape of one event. Pure but for the random id. */

import { randomHex } from './random.js';
import { pageOf } from './route.js';

const KEPT = /^(epik|fbclid|gclid|ttclid|li_fat_id|msclkid|utm_[a-z_]{1,20})$/;

/**
 * What an advertisement left in the address, into the click ids of ad platforms and the campaign's words.
 * @param {string} search
 * @param {Record<string, string>} clicks
 * @param {Record<string, string>} utm
 */
export const readCampaign = (search, clicks, utm) =>
  new URLSearchParams(search).forEach((value, name) => {
    if (value && KEPT.test(name)) (name.startsWith('utm_') ? utm : clicks)[name] = value;
  });

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
  const { order_id } = rest;
  const ordered =
    order_id &&
    typeof order_id !== 'object' &&
    /^\s*(check_?out|purchase)\s*$/i.test(/** @type {string} */ (name));
  return {
    event: name,
    event_id: event_id || (ordered ? 'checkout_' + order_id : randomHex()),
    event_time: time / 1000,
    url: pageOf(url), // fragments carry tokens, and the collector would cut them anyway
    referrer,
    data: { ...utm, ...rest },
  };
};
