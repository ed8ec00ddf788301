/** What one voice of the page says in Consent Mode's words, and all voices in one. */

import { WORDS } from './consent.js';

/** @typedef {import('./consent.js').Words} Words */

/**
 * Word by word the strictest; what a voice that speaks leaves out counts as denied.
 * @param {Words[]} voices
 * @returns {Words} all words, or none where nobody speaks
 */
export const strictest = (voices) => {
  const speaking = voices.filter((words) => Object.keys(words)[0]);
  /** @type {Words} */
  const merged = {};
  if (speaking[0])
    for (const name of WORDS) {
      const said = speaking.map((words) => words[name] ?? 'denied');
      merged[name] = said.reduce((one, other) => (one === 'denied' || other === 'granted' ? one : other));
    }
  return merged;
};

/** @param {() => void} wake called when wait_for_update is over */
export const openChoice = (wake) => {
  /** @type {Words} */
  const defaults = {};
  /** @type {Words} */
  const updates = {};
  const choice = {
    until: 0, // Unix milliseconds: the end of the wait for an update; negative: there was one

    /** @type {Words} an update beats every default, whichever came first */
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
        if (update) updates[name] = word;
        // Where the visitor is, is not known here: what is denied to a region is, and a grant to one is none.
        else if (defaults[name] !== 'denied' && !(given.region && word === 'granted')) defaults[name] = word;
      }
      choice.words = { ...defaults, ...updates };
      if (update) choice.until = -1;
      else if (choice.until >= 0 && given.wait_for_update > 0) {
        choice.until = time + given.wait_for_update;
        setTimeout(wake, choice.until - Date.now() + 1); // timers may be early by a fraction
      }
    },
  };
  return choice;
};
