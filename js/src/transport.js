/** One attempt to carry a body to the collector. Text, so that no preflight stands in the way of a beacon. */

/** Characters, of at most three bytes each: beacons and keepalive bodies under way may have 64 KiB in sum. */
export const BODY_LIMIT = 20000;
export const PATIENCE = 30000; // milliseconds that an attempt may take; the collector gives up on a body after ten

/**
 * What became of the events: of each, in their order, or else of all of them.
 * retry: to be sent again, not before `after` seconds. sent: a beacon took them, nobody will hear the answer.
 * @typedef {{ outcome: string, reason?: string }} Result
 * @typedef {{ results?: Result[], outcome: string, reason?: string, after?: any, optout?: string | null }} Answer
 */

/**
 * Never rejects.
 * @param {string} url
 * @param {object} body
 * @param {boolean} [leaving]
 * @returns {Promise<Answer>}
 */
export const send = async (url, body, leaving) => {
  const text = JSON.stringify({ ...body, sent_at: Date.now() }); // by the clock that also timed the events
  try {
    if (leaving && navigator.sendBeacon?.(url, text)) return { outcome: 'sent' };
    const response = await fetch(url, {
      method: 'POST',
      body: text,
      credentials: 'include',
      keepalive: text.length < BODY_LIMIT / 4, // so that a few at once still fit
      signal: AbortSignal.timeout?.(PATIENCE),
    });
    const { status, headers } = response;
    const { results, error } = await response.json().catch(() => ({}));
    return {
      results,
      // A 2xx that is none of the collector's, such as a hotel's log-in page, is no answer.
      outcome: results ? '' : /^4(?!08|29)/.test(String(status)) ? 'refused' : 'retry',
      reason: error ? `${error.code}: ${error.message} ${error.hint}` : 'status ' + status,
      after: headers.get('Retry-After'),
      optout: headers.get('X-Collector-Optout'),
    };
  } catch {
    return { outcome: 'retry', reason: 'no connection' };
  }
};
