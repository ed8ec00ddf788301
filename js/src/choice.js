/** What one voice of the page says in Consent Mode's words, and all voices in one. */

import { WORDS } from './consent.js';

/** @typedef {import('./consent.js').Words} Words */

/**
 * Word by word the strictest; what a voice that speaks leaves out counts as denied.
 * @param {Words[]} voices
 * @returns {Words} all words, or none where nobody speaks
 */
export const strictest = (voices) => {
  /** @type {Words} */
  const merged = {};
  for (const words of voices)
    if (Object.keys(words)[0])
      for (const name of WORDS) {
        const word = words[name] ?? 'denied';
        if (merged[name] !== 'denied' && !(merged[name] && word === 'granted')) merged[name] = word;
      }
  return merged;
};

/** @param {() => void} wake called when wait_for_update is over */
export const openChoice = (wake) => {
  /** @type {Record<string, number>} the words that an update has said: it beats every default, whichever came first */
  const updated = {};
  const choice = {
    until: 0, // Unix milliseconds: the end of the wait for an update; negative: there was one

    /** @type {Words} */
    words: {},

    /** @param {string} action default or update @param {any} given @param {number} time Unix milliseconds of the call */
    heed(action, given, time) {
      const update = action === 'update';
      if (!update && action !== 'default') return;
      for (const name of WORDS) {
        const said = given[name];
        // What is no text becomes the name of its type: as text a list of one grant would read as a grant.
        const word = (typeof said === 'string' && said) || typeof said;
        if (said == null) continue;
        // Where the visitor is, is not known here: what is denied to a region is, and a grant to one is none.
        if (update || !(updated[name] || choice.words[name] === 'denied' || (word === 'granted' && given.region)))
          choice.words[name] = word;
        if (update) updated[name] = choice.until = -1; // one about analytics alone is no answer
      }
      if (choice.until >= 0 && given.wait_for_update > 0) {
        choice.until = time - -given.wait_for_update; // a page may say it as text
        setTimeout(wake, choice.until - Date.now() + 1); // timers may be early by a fraction
      }
    },
  };
  return choice;
};
