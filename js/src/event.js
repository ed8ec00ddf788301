/** The wire shape of one event. Pure but for the random id. */

import { randomHex } from './random.js';

/**
 * The click ids of ad platforms in a query string.
 * @param {string} search
 */
export const clickIds = (search) => {
  /** @type {Record<string, string>} */
  const ids = {};
  new URLSearchParams(search).forEach((value, name) => {
    if (value && /^(epik|fbclid|gclid|ttclid|li_fat_id|msclkid)$/.test(name)) ids[name] = value;
  });
  return ids;
};

/**
 * The id is the page's own (event data `event_id`), else the order's on a checkout, so that a reload of the
 * thank-you page or the server's copy of the order is a duplicate; else a new one.
 * @param {unknown} name judged and canonicalised by the collector
 * @param {any} data what is no object is left out
 * @param {number} time Unix milliseconds of the call
 * @param {string} url
 * @param {string} referrer
 */
export const shapeEvent = (name, data, time, url, referrer) => {
  const { event_id, ...rest } = typeof data === 'object' && data || {};
  const { order_id } = rest;
  const ordered =
    order_id &&
    typeof order_id !== 'object' &&
    /^(checkout|purchase)$/i.test(String(name).replace(/_/g, '').trim());
  return {
    event: name,
    event_id: event_id || (ordered ? 'checkout_' + order_id : randomHex()),
    event_time: time / 1000,
    url: url.split('#')[0], // fragments carry tokens, and the collector would cut them anyway
    referrer,
    data: rest,
  };
};
