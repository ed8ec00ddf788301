/** Bodies on their way: kept until the collector's last word, on the device where consent allows it. */

import { randomHex } from './random.js';
import { PATIENCE, send } from './transport.js';

const PREFIX = '_collector_q';
const ROOM = 250000; // characters: a twentieth of the storage that browsers give a site
const PAUSE = 1000; // milliseconds before the second attempt
const SLOWEST = 60000; // milliseconds between attempts: a collector that is back is found within a minute or two
const LONGEST = 3600000; // milliseconds that a Retry-After may ask for; a due time beyond is a clock put back

/** @typedef {Record<string, string>} Shelf localStorage, or an object that is used like it */
/** @typedef {import('./session.js').Held} Held */
/** @typedef {{ events: any[], lost?: number, [more: string]: unknown }} Body as the wire has it */
/** @typedef {[due: number, tries: number, body: Body]} Parcel as a shelf has it; due in Unix milliseconds */

/** @param {Shelf} shelf oldest first: the time begins the key */
const keysOf = (shelf) => Object.keys(shelf).filter((key) => key.startsWith(PREFIX)).sort();

/** @param {Shelf} shelf @param {string} key @returns {Parcel} what cannot be read is thrown away, and empty */
const open = (shelf, key) => {
  try {
    const parcel = JSON.parse(shelf[key]);
    if (parcel[2].events) return parcel;
  } catch {}
  delete shelf[key];
  return [0, 0, { events: [] }];
};

/**
 * @param {string} url
 * @param {(event: any, outcome: string, reason?: string, held?: Held) => void} tell hears each event's fate;
 *   outcome `retry` is not the last word
 */
export const openOutbox = (url, tell) => {
  /** @type {Shelf} */
  const memory = {};
  let shelves = [memory]; // the best first
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** The device's own shelf, where it has one. @returns {Shelf} */
  const device = () => {
    try {
      return localStorage || memory;
    } catch {
      return memory;
    }
  };

  /** @param {number} wait milliseconds */
  const later = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(drain, wait);
  };

  /**
   * Throws where the shelf has no room.
   * @param {Shelf} shelf @param {string} key @param {number} tries @param {Body} body
   * @param {boolean} [leaving] @param {Held[]} [held] the events as the page gave them
   * @returns {Promise<unknown>} whether it is to be tried again
   */
  const attempt = (shelf, key, tries, body, leaving, held = []) => {
    /** @param {number} wait @param {number} tries */
    const put = (wait, tries) => {
      shelf[key] = JSON.stringify([Date.now() + wait, tries, body]);
    };
    put(PATIENCE, tries); // until then no other page tries it, also where there are no locks
    return send(url, body, leaving).then((answer) => {
      outbox.optout ||= answer.optout;
      const again = body.events.filter((event, index) => {
        const { outcome, reason } = answer.results?.[index] || answer;
        tell(event, outcome, reason, held[index]);
        return outcome === 'retry';
      });
      // What a beacon took stays on the device: a later page sends it again, and the collector knows the repeat.
      if (!(key in shelf) || (answer.outcome === 'sent' && shelf !== memory)) return;
      delete shelf[key];
      if (!again[0] && answer.outcome !== 'retry') return;
      body.events = again;
      const wait =
        Math.max(Math.min(answer.after * 1000 || 0, LONGEST), Math.min(PAUSE * 2 ** tries, SLOWEST)) *
        (1 + Math.random() / 2); // so that the pages of an outage do not come back all at once
      put(wait, tries + 1);
      later(wait);
      return true;
    });
  };

  const work = async () => {
    let next = 0;
    for (const shelf of shelves)
      for (const key of keysOf(shelf)) {
        const [due, tries, body] = open(shelf, key);
        const wait = due - Date.now();
        if (wait > 0 && wait < 2 * LONGEST) next = Math.min(next || wait, wait);
        else if (key in shelf && (await attempt(shelf, key, tries, body))) return;
      }
    if (next) later(next);
  };

  /** One page at a time. http pages have no locks: there the due time of a parcel under way is all. */
  const drain = async () => {
    for (const run of [() => navigator.locks.request(PREFIX, work), work])
      try {
        return await run();
      } catch {}
  };

  const outbox = {
    /** @type {string | null | undefined} the collector's word on an opt-out */
    optout: '',

    /**
     * Whether bodies may stay on the device. The first yes also sends what earlier pages left there.
     * @param {boolean} allowed
     */
    allow(allowed) {
      if (allowed !== !shelves[1]) return;
      shelves = allowed ? [device(), memory] : [memory];
      drain();
    },

    /** Puts down, then sends at once. @param {Body} body @param {Held[]} held @param {boolean} [leaving] */
    post(body, held, leaving) {
      for (const shelf of shelves)
        try {
          let size = 0;
          for (const key of keysOf(shelf).reverse())
            if ((size += shelf[key].length) > ROOM) {
              const { events, lost = 0 } = open(shelf, key)[2];
              events.forEach((event) => tell(event, 'lost', 'too many wait'));
              body.lost = (body.lost || 0) + events.length + lost;
              delete shelf[key];
            }
          return attempt(shelf, PREFIX + Date.now() + randomHex(), 0, body, leaving, held);
        } catch {} // the device has no room: memory
    },

    /** What only memory holds goes by beacon while the page goes away. */
    leave() {
      for (const key of keysOf(memory)) {
        const [, tries, body] = open(memory, key);
        if (tries) attempt(memory, key, tries, body, true);
      }
    },

    /** Forgets everything, on the device too. */
    clear() {
      for (const shelf of [device(), memory]) for (const key of keysOf(shelf)) delete shelf[key];
      shelves = [memory];
    },

    /** Events that wait for the collector, as far as this page may look. */
    size: () => shelves.flatMap((shelf) => keysOf(shelf).flatMap((key) => open(shelf, key)[2].events)).length,
  };
  return outbox;
};
