/** Bodies on their way: kept until the collector's last word, on the device where consent allows it. */

import { randomHex } from './random.js';

/** Characters, of at most three bytes each: what outlives a page may have 64 KiB in sum while it is under way. */
export const BODY_LIMIT = 20000;
const PATIENCE = 30000; // milliseconds that an attempt may take; the collector gives up on a body after ten
const PREFIX = '_collector_q';
const ROOM = 250000; // characters: a twentieth of the storage that browsers give a site
const PAUSE = 1000; // milliseconds before the second attempt
const SLOWEST = 60000; // milliseconds between attempts: a collector that is back is found within a minute or two
const LONGEST = 3600000; // milliseconds that a Retry-After may ask for; a due time beyond is a clock put back

/** @typedef {{ events: any[], lost?: number, [more: string]: unknown }} Body as the wire has it */

/**
 * @param {string} url
 * @param {(event: any, outcome: string, reason?: string) => void} tell hears each event's fate; outcome `retry` is
 *   not the last word
 */
export const openOutbox = (url, tell) => {
  /** @type {Record<string, string>} localStorage where consent and browser allow it, else memory: used alike */
  let shelf = {};
  let lasting = false;
  let flying = 0; // characters under way
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /**
   * What waits, oldest first: the time begins the key. What cannot be read is thrown away.
   * @returns {Generator<[key: string, due: number, tries: number, body: Body]>} due: Unix milliseconds
   */
  function* parcels() {
    for (const key of Object.keys(shelf).filter((key) => key.startsWith(PREFIX)).sort()) {
      /** @type {any} */
      let parcel;
      try {
        parcel = JSON.parse(shelf[key]);
      } catch {}
      if (parcel?.[2]?.events) yield /** @type {any} */ ([key, ...parcel]);
      else delete shelf[key];
    }
  }

  /** @param {number} wait milliseconds */
  const later = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(drain, wait);
  };

  /**
   * Carries a body to the collector, as text, so that no preflight delays it.
   * @param {string} key @param {number} tries @param {Body} body
   * @returns {Promise<unknown>} whether it is to be tried again
   */
  const attempt = async (key, tries, body) => {
    /** @param {number} wait @param {number} tries */
    const put = (wait, tries) => {
      shelf[key] = JSON.stringify([Date.now() + wait, tries, body]);
    };
    try {
      put(PATIENCE, tries); // until then no other page tries it, also where there are no locks
    } catch {
      shelf = {}; // the device has no room
      put(PATIENCE, tries);
    }
    const text = JSON.stringify({ ...body, sent_at: Date.now() }); // by the clock that also timed the events
    flying += text.length;
    let after = 0;
    let fate = 'retry';
    let why = 'no connection';
    /** @type {any} */
    let answer = {};
    try {
      const response = await fetch(url, {
        method: 'POST',
        body: text,
        credentials: 'include',
        keepalive: flying < BODY_LIMIT,
        signal: AbortSignal.timeout?.(PATIENCE),
      });
      const { status, headers } = response;
      outbox.honoured ||= headers.get('X-Collector-Optout');
      after = +(headers.get('Retry-After') || 0);
      why = 'status ' + status;
      if (/^4(?!08|29)/.test(/** @type {any} */ (status))) fate = 'refused';
      answer = await response.json();
      if (answer.error) why = Object.values(answer.error).join(' ');
    } catch {}
    flying -= text.length;
    body.events = body.events.filter((event, index) => {
      const { outcome, reason } = answer.results?.[index] || { outcome: fate, reason: why };
      tell(event, outcome, reason);
      return outcome === 'retry';
    });
    if (!(key in shelf)) return;
    // A 2xx that is none of the collector's, such as a hotel's log-in page, is no answer.
    if (body.events[0] || (!answer.results && fate === 'retry')) {
      const wait = Math.max(Math.min(after * 1000 || 0, LONGEST), Math.min(PAUSE * 2 ** tries, SLOWEST));
      // So that the pages of an outage do not come back all at once; whole, to take no more room than before.
      const jittered = Math.ceil(wait * (1 + Math.random() / 2));
      later(jittered);
      put(jittered, tries + 1);
      return true;
    }
    delete shelf[key];
  };

  const work = async () => {
    let next = 0;
    for (const [key, due, tries, body] of parcels()) {
      const wait = due - Date.now();
      if (wait > 0 && wait < 2 * LONGEST) next = Math.min(next || wait, wait);
      else if (await attempt(key, tries, body)) return;
    }
    if (next) later(next);
  };

  /** One page at a time. http pages have no locks: nor have sandboxed frames: there the due time of a parcel under way is all. */
  const drain = () => (navigator.locks ? navigator.locks.request(PREFIX, work).catch(work) : work());

  const outbox = {
    /** @type {string | null | undefined} the collector's word on an opt-out */
    honoured: '',

    /**
     * Whether bodies may stay on the device. A first yes puts those of memory there, and sends what earlier
     * pages left.
     * @param {boolean} allowed
     */
    permit(allowed) {
      if (allowed === lasting) return;
      lasting = allowed;
      try {
        shelf = allowed ? Object.assign(localStorage, shelf) : {};
      } catch {} // blocked: memory
      later(0);
    },

    /** Puts down, then sends at once. @param {Body} body */
    post(body) {
      let size = 0;
      for (const [old, , , { events, lost = 0 }] of [...parcels()].reverse())
        if ((size += shelf[old].length) > ROOM) {
          events.forEach((event) => tell(event, 'lost', 'too many wait'));
          body.lost = (body.lost || 0) + events.length + lost;
          delete shelf[old];
        }
      attempt(PREFIX + Date.now() + randomHex(), 0, body);
    },

    /** Forgets everything, on the device too. */
    purge() {
      try {
        shelf = localStorage || {};
      } catch {}
      for (const [key] of parcels()) delete shelf[key];
      shelf = {};
      lasting = false;
    },

    /** Events that wait for the collector, as far as this page may look. */
    unsent: () => [...parcels()].flatMap(([, , , body]) => body.events).length,
  };
  return outbox;
};
