/** What the page said about consent: Consent Mode's words, where the newest call counts, and setconsent. */

import { WORDS } from './consent.js';

/** @typedef {import('./consent.js').Words} Words */

/**
 * The three words of a call. What is no text becomes the name of its type: unreadable, while as text a list
 * of one grant would read as a grant.
 * @param {any} given
 * @returns {Words}
 */
const pick = (given) =>
  Object.fromEntries(
    WORDS.filter((name) => given[name] != null).map((name) => {
      const word = given[name];
      return [name, typeof word === 'string' ? word : typeof word];
    }),
  );

/** @param {() => void} wake called when wait_for_update ends without an update */
export const openChoice = (wake) => {
  /** @type {Words} */
  let defaults = {};
  /** @type {Words | undefined} */
  let updates;
  /** @type {string | undefined} setconsent's, as the word that it means */
  let said;
  let waiting = false;

  return {
    /**
     * In words alone, as the wire has them. A default never beats an update, whichever came first; of
     * setconsent and the words the stricter counts.
     */
    signals() {
      const words = { ...defaults, ...updates };
      const alone = said === 'denied' || !Object.keys(words).length;
      if (said) for (const name of WORDS) if (alone || words[name] === 'granted') words[name] = said;
      return { words, waiting };
    },

    /** @param {any} given */
    update(given) {
      updates = { ...updates, ...pick(given) };
      waiting = false;
    },

    /** @param {any} given @param {number} time Unix milliseconds of the call, from which wait_for_update runs */
    preset(given, time) {
      defaults = { ...defaults, ...pick(given) };
      if (updates || !(given.wait_for_update > 0)) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        wake();
      }, given.wait_for_update - (Date.now() - time));
    },

    /** @param {'granted' | 'denied' | 'malformed'} word */
    say(word) {
      said = word;
    },
  };
};
