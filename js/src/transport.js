/** One attempt to carry a body to the collector. Text, so that no preflight delays it; it outlives the page. */

/** Characters, of at most three bytes each: what outlives a page may have 64 KiB in sum while it is under way. */
export const BODY_LIMIT = 20000;
export const PATIENCE = 30000; // milliseconds that an attempt may take; the collector gives up on a body after ten

let flying = 0; // characters under way

/**
 * What became of the events: of each, in their order, or else of all of them.
 * retry: to be sent again, not before `after` seconds.
 * @typedef {{ outcome: string, reason?: string }} Result
 * @typedef {{ results?: Result[], outcome: string, reason?: string, after?: any, optout?: string | null }} Answer
 */

/**
 * Never rejects.
 * @param {string} url
 * @param {object} body
 * @returns {Promise<Answer>}
 */
export const send = async (url, body) => {
  const text = JSON.stringify({ ...body, sent_at: Date.now() }); // by the clock that also timed the events
  flying += text.length;
  try {
    const response = await fetch(url, {
      method: 'POST',
      body: text,
      credentials: 'include',
      keepalive: flying < BODY_LIMIT,
      signal: AbortSignal.timeout?.(PATIENCE),
    });
    const { status, headers } = response;
    const { results, error } = await response.json().catch(() => ({}));
    return {
      results,
      // A 2xx that is none of the collector's, such as a hotel's log-in page, is no answer.
      outcome: results ? '' : /^4(?!08|29)/.test(String(status)) ? 'refused' : 'retry',
      reason: error ? Object.values(error).join(' ') : 'status ' + status,
      after: headers.get('Retry-After'),
      optout: headers.get('X-Collector-Optout'),
    };
  } catch {
    return { outcome: 'retry', reason: 'no connection' };
  } finally {
    flying -= text.length;
  }
};
