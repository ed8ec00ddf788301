/** Bodies on their way: kept until the collector's last word, on the device where consent allows it. */

import { openAlarm } from './alarm.js';
import { randomHex } from './random.js';
import { safely } from './safely.js';
import { forgetVisitor } from './visitor.js';

/** Characters, of at most three bytes each: what outlives a page may have 64 KiB in sum while it is under way. */
export const BODY_LIMIT = 20000;

const PREFIX = '_collector_q'; // of a parcel's key; the lock's name
const ROOM = 99; // parcels; most are a thousand characters
const PATIENCE = 30000; // milliseconds that an attempt may take; the collector gives up on a body after ten
const SLOWEST = 60; // seconds between attempts: a collector that is back is found within a minute or two
const MEMORY = 170000000; // milliseconds, somewhat below the 48 hours for which the collector knows an event's id
const LONGEST = 3600; // seconds that a Retry-After may ask for; a due time beyond is a clock put back

/** @typedef {{ events: any[], lost?: number, [more: string]: unknown }} Body as the wire has it */
/** @typedef {{ outcome: string, reason?: string }} Result of one event */

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

  /**
   * What waits, oldest first: the time begins the key. What cannot be read is thrown away. Read one by one,
   * because a withdrawal may empty the shelf between two attempts.
   * @returns {Generator<[key: string, due: number, tries: number, body: Body]>} due: Unix milliseconds
   */
  function* parcels() {
    for (const key of Object.keys(shelf).filter((key) => /^_collector_q/.test(key)).sort()) {
      const parcel = safely(() => JSON.parse(shelf[key]));
      if (parcel?.[2]?.events && key > PREFIX + (Date.now() - MEMORY)) yield /** @type {any} */ ([key, ...parcel]);
      else delete shelf[key];
    }
  }

  /**
   * Sends what is due, one page at a time. http pages have no locks, nor have sandboxed frames: there the due time
   * of a parcel under way is all.
   */
  const later = openAlarm(() => navigator.locks?.request(PREFIX, work).catch(work) || work());

  /**
   * Text, so that no preflight delays it; it outlives the page. Never rejects.
   * @param {string} key @param {number} tries @param {Body} body
   * @returns {Promise<unknown>} whether it is to be tried again
   */
  const attempt = async (key, tries, body) => {
    /** Where the shelf has no room, memory has. @param {number} wait @param {number} tries */
    const put = (wait, tries) => {
      const text = JSON.stringify([Date.now() + wait, tries, body]);
      try {
        shelf[key] = text;
      } catch {
        shelf = { [key]: text };
      }
    };
    const lasted = lasting;
    put(PATIENCE, tries); // until then no other page tries it, also where there are no locks
    const text = JSON.stringify({ ...body, sent_at: Date.now() }); // by the clock that also timed the events
    flying += text.length;
    let outcome = 'retry'; // of all events for which the collector has no result of their own
    let reason = 'unavailable';
    /** @type {any} */
    let after;
    /** @type {Result[] | undefined} */
    let results;
    try {
      const response = await fetch(url, {
        method: 'POST',
        body: text,
        credentials: 'include',
        keepalive: flying < BODY_LIMIT,
        signal: AbortSignal.timeout?.(PATIENCE),
      });
      after = response.headers.get('retry-after');
      outbox.honoured ||= response.headers.get('x-collector-optout');
      reason = 'status ' + response.status;
      if (/ 4(?!08|29)/.test(reason)) outcome = 'refused';
      const answer = await response.json();
      // A 2xx that is none of the collector's, such as a hotel's log-in page, is no answer.
      if ((results = answer.results)) outcome = '';
      reason = Object.values(answer.error).join(' ');
    } catch {} // no answer, no JSON or no error: what is known until then counts
    flying -= text.length;
    if (lasted > lasting) forgetVisitor(); // an answer of before the withdrawal has put it back
    body.events = body.events.filter((event, index) => {
      const { outcome: fate, reason: why } = results?.[index] || { outcome, reason };
      tell(event, fate, why);
      return fate === 'retry';
    });
    // What a withdrawal has taken off the shelf is not put back.
    if (key in shelf && (body.events[0] || outcome === 'retry')) {
      const wait = Math.max(Math.min(+after || 0, LONGEST), Math.min(2 ** tries, SLOWEST));
      // So that the pages of an outage do not come back all at once; whole, to take no more room than before.
      const jittered = (wait * (1000 + Math.random() * 500)) | 0;
      later(jittered);
      put(jittered, tries + 1);
      return true;
    }
    delete shelf[key];
  };

  const work = async () => {
    /** @type {any} milliseconds, once one waits */
    let next;
    for (const [key, due, tries, body] of parcels()) {
      const wait = due - Date.now();
      if (wait > 0 && wait < 2000 * LONGEST) next = wait > next ? next : wait;
      else if (await attempt(key, tries, body)) return;
    }
    if (next) later(next);
  };

  const outbox = {
    /** @type {string | null} the collector's word on an opt-out */
    honoured: '',

    /**
     * Whether bodies may stay on the device. A first yes puts those of memory there, and sends what earlier
     * pages left.
     * @param {boolean} allowed
     */
    permit(allowed) {
      if (allowed === lasting) return;
      lasting = allowed;
      safely(() => (shelf = allowed ? Object.assign(localStorage, shelf) : {})); // blocked: memory
      later(0);
    },

    /** Puts down, then sends at once. @param {Body} body */
    post(body) {
      safely(() => {
        for (const [key, , , old] of [...parcels()].slice(0, -ROOM)) {
          body.lost = (body.lost || 0) + (old.lost || 0) + old.events.length;
          delete shelf[key];
        }
      });
      attempt(PREFIX + Date.now() + randomHex(), 0, body);
    },

    /** Forgets everything, on the device too. */
    purge() {
      safely(() => {
        shelf = localStorage;
        for (const [key] of parcels()) delete shelf[key];
      });
      shelf = {};
      lasting = false;
    },

    /** How many bodies wait for the collector, as far as this page may look. */
    unsent: () => [...parcels()].length,
  };
  return outbox;
};
