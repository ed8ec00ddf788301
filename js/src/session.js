/** One page's dealings with a collector: takes commands, holds events, sends what consent lets go. */

import { byteLength, fill, intoBatches } from './batch.js';
import { openChoice } from './choice.js';
import { decide, DROP, FULL, HOLD } from './consent.js';
import { clickIds, shapeEvent } from './event.js';
import { hashEmail } from './identity.js';
import { browserSignals } from './signals.js';
import { send } from './transport.js';
import { forgetVisitor, keepVisitor, readVisitor } from './visitor.js';

/** @typedef {{ json: string, callback: any }} Held */

const MOST_HELD = 1000; // a page that tracks every scroll must not fill the memory while a banner stays unanswered

/**
 * Nothing that fails here may show in the page: a callback's own fault, an unknown word, data that is no JSON.
 * @param {() => void} work
 */
const safely = (work) => {
  try {
    work();
  } catch {}
};

/** Tells the page an event's fate. @param {Held} held @param {boolean} sent @param {string} [reason] */
const settle = ({ callback }, sent, reason) => callback && safely(() => callback(sent, reason));

/**
 * @param {string} collector its URL, without a slash at the end
 * @returns {(command: Command) => void} takes one command; never throws
 */
export const openSession = (collector) => {
  /** @type {string | undefined} */
  let tag;
  /** @type {import('./consent.js').Regime} */
  let regime = 'opt_in';
  /** @type {Record<string, string | undefined>} */
  const user = {};
  /** @type {Record<string, string>} */
  const clicks = {};
  /** @type {Held[]} */
  const held = [];
  let hashing = Promise.resolve();
  let consented = false; // something went out under full consent, so that there is something to withdraw
  let withdrawing = false;

  const choice = openChoice(() => flush());

  const forget = () => held.splice(0).forEach((item) => settle(item, false, 'consent_denied'));

  /**
   * @param {Held[]} items
   * @param {string | undefined} visitor
   * @param {boolean} leaving
   * @param {boolean} [withdraw]
   */
  const post = (items, visitor, leaving, withdraw) => {
    const envelope = JSON.stringify({
      tag,
      visitor,
      sent_at: Date.now(),
      withdraw,
      consent: { ...choice.signals().words, ...browserSignals() },
      ...(withdraw ? {} : { user_data: user, click_ids: clicks }),
      events: [],
    });
    intoBatches(items, byteLength(envelope)).forEach((batch) =>
      send(collector + '/v1/events', fill(envelope, batch), leaving)
        .then((results) =>
          batch.forEach((item, index) => {
            const { outcome, reason } = results[index] || {}; // none: the browser took the body over
            settle(item, outcome !== 'refused' && outcome !== 'retry', reason);
          }),
        )
        .catch(() => batch.forEach((item) => settle(item, false, 'unavailable'))),
    );
  };

  /**
   * Decides for all that is held, at once and late: commands of the same tick have all been heard by then,
   * whatever their order. Before a decision for it, no cookie is read or written.
   */
  const flush = (leaving = false) =>
    safely(() => {
      if (!tag || document.prerendering) return;
      if (withdrawing) {
        const visitor = readVisitor();
        if (visitor || consented) post([], visitor, leaving, true);
        forgetVisitor();
        withdrawing = consented = false;
      }
      const verdict = decide({ ...choice.signals(), ...browserSignals() }, regime);
      if (verdict === DROP) forget();
      if (verdict === HOLD || !held.length) return;
      consented ||= verdict === FULL;
      post(held.splice(0), verdict === FULL ? keepVisitor() : readVisitor(), leaving);
    });

  /** @param {any} given */
  const identify = ({ em, external_id }) => {
    if (external_id !== undefined) user.external_id = external_id ? String(external_id) : undefined;
    if (em === undefined) return;
    user.em = undefined; // an event that cannot wait goes without, never with the last person's
    hashing = hashing
      .then(async () => {
        user.em = em ? await hashEmail(em) : undefined;
      })
      .catch(() => {});
  };

  /** @param {number} time @param {unknown} name @param {unknown} data @param {unknown} callback */
  const add = (time, name, data, callback) => {
    Object.assign(clicks, clickIds(location.search));
    const json = JSON.stringify(shapeEvent(name, data, time, location.href, document.referrer));
    if (held.length < MOST_HELD) held.push({ json, callback });
  };

  /** @type {Record<string, (time: number, ...args: any[]) => void>} */
  const commands = {
    /** The first tag stays: one page, one tag. */
    load(_, id, options = {}) {
      if (!tag) regime = options.regime;
      tag ||= String(id);
      identify(options);
    },
    page: (time, data, callback) => add(time, 'pagevisit', data, callback),
    track: add,
    set: (_, given) => identify(given),
    setconsent(_, value) {
      const denied = value === false || value === 'false';
      choice.say(denied ? 'denied' : value === true || value === 'true' ? 'granted' : 'malformed');
      if (!denied) return;
      withdrawing = true;
      forget();
    },
    consent(time, action, words) {
      if (action === 'default') choice.preset(words, time);
      if (action === 'update') choice.update(words);
    },
  };

  const leave = () => flush(true);
  addEventListener('pagehide', leave);
  addEventListener('visibilitychange', leave); // coming back into view has nothing left to send
  document.addEventListener('prerenderingchange', () => flush());

  return ([time, [word, ...args]]) => {
    safely(() => commands[word](time, ...args));
    Promise.resolve()
      .then(() => hashing)
      .then(() => flush());
  };
};
