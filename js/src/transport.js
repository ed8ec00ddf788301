/** Carries a body to the collector. Text, so that no preflight stands in the way of a beacon. */

import { BODY_LIMIT, byteLength } from './batch.js';

/** @typedef {{ outcome: string, reason?: string }} Result */

let underWay = 0; // bytes of keepalive bodies, which the browser caps in sum

/**
 * The collector's results in the events' order; none where the page is going away and the browser took the
 * body over. Rejects where the collector did not take it.
 * @param {string} url
 * @param {string} body
 * @param {boolean} leaving
 * @returns {Promise<Partial<Result>[]>}
 */
export const send = async (url, body, leaving) => {
  if (leaving && navigator.sendBeacon?.(url, body)) return [];
  const bytes = byteLength(body);
  underWay += bytes;
  try {
    const answer = await fetch(url, {
      method: 'POST',
      body,
      credentials: 'include',
      keepalive: underWay <= BODY_LIMIT,
    });
    if (!answer.ok) throw answer.status;
    return (await answer.json()).results;
  } finally {
    underWay -= bytes;
  }
};
