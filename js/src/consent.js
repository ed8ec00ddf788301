/** Whether events may leave the page: every signal has a vote, and the strictest wins. Pure. */

import { voteOfGpp, voteOfTcf } from './iab.js';
import { safely } from './safely.js';

/** @typedef {'opt_in' | 'opt_out'} Regime */
/** @typedef {{ ad_storage?: string, ad_user_data?: string, ad_personalization?: string }} Words */
export const WORDS = /** @type {const} */ (['ad_storage', 'ad_user_data', 'ad_personalization']);

// The verdicts, numbered so that the strictest is the greatest.
export const SILENT = -1;
export const FULL = 0;
export const LIMITED = 1;
export const HOLD = 2;
export const DROP = 3;

/**
 * The strictest vote and whose it is. GPC, DNT and the US sections only ever take away: where nobody agreed
 * yet under opt_in, they are no permission either.
 * @param {Words & { gpc: boolean, dnt: boolean, opt_out_type?: string }} said as the wire has it
 * @param {unknown} waiting whether the words are not final
 * @param {import('./iab.js').Said} platforms what they say
 * @param {Regime | undefined} regime
 * @param {number} [vendor] the IAB's number of the vendor for whom TCF is read; without one, for the publisher
 * @returns {[verdict: number, why: string]}
 */
export const decide = (said, waiting, { tcf, gpp }, regime, vendor) => {
  const optOut = regime === 'opt_out';
  const doubtful = optOut ? LIMITED : DROP;
  const text = WORDS.map((name) => said[name]).join(); // all words, or none
  const words = waiting
    ? HOLD
    : text === ',,'
      ? SILENT
      : /^denied,/.test(text)
        ? DROP
        : /^granted(,granted|,denied){2}$/.test(text)
          ? /denied/.test(text) ? LIMITED : FULL
          : doubtful;
  // An answer that lacks what it should have is malformed.
  const purposes = tcf === null ? HOLD : tcf?.gdprApplies ? safely(() => voteOfTcf(tcf, vendor)) ?? DROP : SILENT;
  const sections = gpp === null ? HOLD : gpp ? safely(() => voteOfGpp(gpp, doubtful, tcf)) ?? doubtful : SILENT;
  const unasked = !optOut && Math.max(words, purposes) < FULL;
  let verdict = FULL;
  let why = '';
  /** @type {Record<string, number>} */
  const votes = {
    'consent words': words,
    TCF: purposes,
    GPP: sections,
    // Full: no objection.
    GPC: said.gpc ? LIMITED : FULL,
    opt_out_type: said.opt_out_type ? LIMITED : FULL,
    DNT: said.dnt && (optOut || (unasked && sections !== HOLD)) ? doubtful : FULL,
    'no consent yet': unasked ? HOLD : FULL,
  };
  for (const name in votes)
    if (votes[name] > verdict) {
      verdict = votes[name];
      why = name; // of equals the first
    }
  return [verdict, why];
};
