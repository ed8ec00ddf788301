/** Whether events may leave the page: every signal has a vote, and the strictest wins. Pure. */

import { voteOfGpp, voteOfTcf } from './iab.js';

/** @typedef {'opt_in' | 'opt_out'} Regime */
/** @typedef {{ ad_storage?: string, ad_user_data?: string, ad_personalization?: string }} Words */
export const WORDS = /** @type {const} */ (['ad_storage', 'ad_user_data', 'ad_personalization']);

// The verdicts, numbered so that the strictest is the greatest.
export const SILENT = -1;
export const FULL = 0;
export const LIMITED = 1;
export const HOLD = 2;
export const DROP = 3;

/** @param {Words} words all, or none @param {number} doubtful the vote of what is malformed */
const voteOfWords = (words, doubtful) => {
  const said = WORDS.map((name) => words[name]).join();
  return said === ',,'
    ? SILENT
    : /^denied,/.test(said)
      ? DROP
      : /^granted(,granted|,denied){2}$/.test(said)
        ? said.includes('denied') ? LIMITED : FULL
        : doubtful;
};

/**
 * The strictest vote and whose it is. GPC, DNT and the US sections only ever take away: where nobody agreed
 * yet under opt_in, they are no permission either.
 * @param {Words & { gpc: boolean, dnt: boolean, opt_out_type?: string }} said as the wire has it
 * @param {boolean} waiting whether the words are not final
 * @param {import('./iab.js').Said} platforms what they say
 * @param {Regime | undefined} regime
 * @param {number} [vendor] the IAB's number of the vendor for whom TCF is read; without one, for the publisher
 * @returns {[verdict: number, why: string]}
 */
export const decide = (said, waiting, { tcf, gpp }, regime, vendor) => {
  const optOut = regime === 'opt_out';
  const doubtful = optOut ? LIMITED : DROP;
  const words = waiting ? HOLD : voteOfWords(said, doubtful);
  const purposes = voteOfTcf(tcf, vendor);
  const sections = voteOfGpp(gpp, doubtful, tcf);
  const unasked = !optOut && Math.max(words, purposes) === SILENT;
  const votes = Object.entries({
    'consent words': words,
    TCF: purposes,
    GPP: sections,
    GPC: said.gpc ? LIMITED : SILENT,
    opt_out_type: said.opt_out_type ? LIMITED : SILENT,
    DNT: said.dnt && (optOut || (unasked && sections !== HOLD)) ? doubtful : SILENT,
    'no consent yet': unasked ? HOLD : FULL,
  });
  const [why, verdict] = votes.sort(([, one], [, other]) => other - one)[0]; // of equals the first
  return [verdict, verdict ? why : ''];
};
