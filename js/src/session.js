/** One page's dealings with a collector: takes commands, holds events, hands over what consent lets go. */

import { decide, DROP, FULL, HOLD } from './consent.js';
import { openChoice, strictest } from './choice.js';
import { openAlarm } from './alarm.js';
import { openPlatforms } from './platforms.js';
import { pageOf, watchRoute } from './route.js';
import { forgetVisitor, visitorId } from './visitor.js';
import { BODY_LIMIT, openOutbox } from './outbox.js';
import { safely } from './safely.js';
import { hashed } from './identity.js';
import { readCampaign, shapeEvent } from './event.js';
import { browserSignals } from './signals.js';

const MOST_HELD = 1000; // a page that tracks every scroll must not fill the memory while a banner stays unanswered
const LOOK = 1000; // milliseconds between looks for a consent platform that came late, while events are held
const NOTES = 50; // what status tells

/**
 * @param {string} collector its URL, without a slash at the end
 * @returns {(command: Command) => void} takes one command; never throws
 */
export const openSession = (collector) => {
  /** @type {Record<string, true>} each gets every event; the first one's options count */
  const tags = {};
  /** @type {{ regime?: import('./consent.js').Regime, vendor?: number, spa?: boolean } | undefined} once a tag is loaded */
  let options;
  /** @type {Record<string, unknown>} */
  const user = {};
  /** @type {string | undefined} */
  let optOutType;
  /** @type {Record<string, string>} */
  const clicks = {};
  /** @type {Record<string, string>} */
  const utm = {};
  /** @type {any[]} events, with a function that waits for their fate, and knows why they are held: JSON leaves it out */
  const held = [];
  let hashing = (async () => {})();
  /** @type {boolean | undefined} */
  let consented; // there was consent on this page, full or not, so that there is something to withdraw
  /** @type {boolean | undefined} */
  let withdrawing; // with the next decision
  let referrer = document.referrer;
  /** @type {string | undefined} */
  let counted; // the address whose visit is counted
  /** @type {boolean | undefined} */
  let automatic; // without a call of the page's own
  /** @type {string[]} */
  const notes = [];
  let loud = /collector_debug/.test(location.search);

  /** @param {string} line */
  const print = (line) => console.info('[collector]', line);

  /** What became of an event, for the developer. @param {string} event @param {string} outcome @param {string | undefined} reason */
  const note = (event, outcome, reason) => {
    const line = event + ': ' + outcome + ', ' + reason;
    if (notes.push(line) > NOTES) notes.shift();
    if (loud) print(line);
  };

  /** An event's fate, to the page too where its callback still waits. @type {Parameters<typeof openOutbox>[1]} */
  const tell = (event, outcome, reason) => {
    note(event.event, outcome, reason);
    /** @type {Record<string, string | undefined>} in the words of docs/outcomes.md */
    const failures = { dropped: 'consent_denied', retry: 'unavailable', refused: reason };
    const failure = failures[outcome];
    safely(() => event.callback(!failure, failure || reason));
    delete event.callback; // one answer to the page, of several tags and attempts
  };

  /** Once this tick's commands are heard. Not by name: the page's `Promise` may be anybody's. */
  const later = async () => {
    await 0;
    hashing.then(flush, flush); // also after a value that cannot be read as text
  };

  const voices = [later, later, later].map(openChoice); // 0: collect('consent'), 1: gtag('consent'), 2: setconsent
  const heard = openPlatforms(voices[1], later);
  const outbox = openOutbox(collector + '/v1/events', tell);

  const judge = () => {
    const platforms = heard();
    const { tcf, gpp } = platforms;
    const words = strictest(voices.map((voice) => voice.words));
    const said = {
      ...words,
      ...browserSignals(),
      opt_out_type: optOutType,
      gdpr: tcf?.gdprApplies,
      tcf: tcf?.tcString,
      gpp: gpp?.gppString,
      gpp_sid: gpp?.applicableSections,
    };
    const waiting =
      voices.some((voice) => Date.now() < voice.until) ||
      // A default that denies is the answer until there is one: beside a platform that still asks, it waits.
      (words.ad_storage && (tcf === null || gpp === null) && !voices.some((voice) => voice.until < 0));
    return /** @type {const} */ ([said, ...decide(said, waiting, platforms, options?.regime, options?.vendor)]);
  };

  /** @param {string} why */
  const forget = (why) => {
    for (const event of held.splice(0)) tell(event, 'dropped', why);
  };

  /**
   * In as many bodies as a browser still carries while the page goes away.
   * @param {object} consent
   * @param {any[]} events
   * @param {string | undefined} visitor
   * @param {object} [more]
   */
  const post = (consent, events, visitor, more = { user_data: { ...user }, click_ids: { ...clicks } }) => {
    const half = events.length >> 1;
    if (half && JSON.stringify(events).length > BODY_LIMIT) {
      post(consent, events.splice(0, half), visitor);
      post(consent, events, visitor);
    } else for (const tag of Object.keys(tags)) outbox.post({ tag, visitor, consent, ...more, events });
  };

  /**
   * Decides for all that is held, at once and late: commands of the same tick have all been heard by then,
   * whatever their order. Before a decision for it, no cookie is read or written.
   */
  const flush = () =>
    safely(() => {
      if (!options || document.prerendering) return;
      const [said, verdict, why] = judge();
      // A denial after consent is a withdrawal, however it is said.
      withdrawing ||= consented && verdict === DROP && (why === 'TCF' || said.ad_storage === 'denied');
      if (withdrawing) {
        const visitor = visitorId();
        outbox.purge();
        forgetVisitor();
        if (visitor) {
          note('withdrawal', 'sent', why);
          post(said, [], visitor, { withdraw: true });
        }
        consented = withdrawing = false;
      }
      consented ||= verdict < HOLD;
      outbox.permit(verdict === FULL);
      if (verdict === DROP) forget(why);
      if (!held.length) return;
      if (verdict === HOLD) {
        for (const event of held) if (event.callback.held !== why) note(event.event, 'held', (event.callback.held = why));
        look(LOOK);
      } else {
        const visitor = visitorId(verdict === FULL);
        if (verdict || visitor) post(said, held.splice(0), visitor);
        else forget(why); // the id of this page is gone: another tab has withdrawn, or a page that this one slept behind
      }
    });

  const look = openAlarm(flush);

  /** @param {unknown} _ @param {any} given */
  const identify = (_, given) => {
    const id = given.external_id;
    if (id !== undefined) user.external_id = id || undefined;
    optOutType = given.opt_out_type ?? optOutType;
    for (const name of /** @type {const} */ (['em', 'ph'])) {
      const value = given[name];
      if (value === undefined) continue;
      user[name] = undefined; // an event that cannot wait goes without, never with the last person's
      hashing = hashing.then(async () => {
        if (!(user[name] = await hashed(name, value)) && value) note(name, 'refused', 'malformed');
      });
    }
  };

  /** @param {number} time @param {unknown} name @param {unknown} data @param {any} [callback] */
  const add = (time, name, data, callback) => {
    readCampaign(location.search, clicks, utm);
    // As JSON has it, now: the page may change its object.
    const event = JSON.parse(JSON.stringify(shapeEvent(name, data, time, location.href, referrer, utm)));
    event.callback = (/** @type {boolean} */ sent, /** @type {string} */ reason) => callback(sent, reason);
    if (held.length < MOST_HELD) held.push(event);
  };

  /** @param {number} time @param {unknown} [data] @param {any} [callback] */
  const visit = (time, data, callback) => {
    const page = pageOf(location.href);
    // An application's address was counted as soon as it changed: the page's own call is the same visit.
    if (page !== counted) referrer = counted || referrer;
    else if (automatic) return callback(true, 'counted');
    if (!counted && options?.spa !== false)
      watchRoute(() =>
        setTimeout(() => {
          if (pageOf(location.href) === counted) return;
          visit(Date.now());
          automatic = true;
          flush();
        }),
      );
    counted = page;
    automatic = false;
    add(time, 'pagevisit', data, callback);
  };

  /** @type {Record<string, (time: number, ...args: any[]) => void>} */
  const commands = {
    load(time, id, given) {
      if (!/^\d{13}$/.test(id)) return note('load', 'refused', id);
      tags[id] = true;
      options ||= given || {};
      identify(time, given || {});
    },
    consent: (time, action, words) => voices[0].heed(action, words, time),
    track: add,
    set: identify,
    page: visit,
    setconsent(time, value) {
      const denied = value === false || value === 'false';
      const word = denied ? 'denied' : value === true || value === 'true' ? 'granted' : 'malformed';
      voices[2].heed('update', { ad_storage: word, ad_user_data: word, ad_personalization: word }, time);
      if (!denied) return;
      withdrawing = true;
      forget('setconsent');
    },
    status(_, callback) {
      const [said, verdict, why] = judge();
      callback({
        tag: Object.keys(tags).join(' '),
        consent: ['full', 'limited', 'hold', 'drop'][verdict],
        why,
        gpc: said.gpc,
        optout: outbox.honoured,
        held: held.length,
        queued: outbox.unsent(),
        notes,
      });
    },
    debug() {
      if (!loud) notes.forEach(print);
      loud = true;
    },
  };

  addEventListener('pagehide', flush);
  addEventListener('visibilitychange', flush); // coming back into view has nothing left to send
  document.addEventListener('prerenderingchange', later);

  return ([time, [word, ...args]]) => {
    safely(() => commands[word](time, ...args));
    later();
  };
};
