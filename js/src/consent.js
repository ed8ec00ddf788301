/** Whether events may leave the page: every signal gives a verdict, and the strictest wins. Pure. */

/** @typedef {'opt_in' | 'opt_out'} Regime */
/** @typedef {{ ad_storage?: string, ad_user_data?: string, ad_personalization?: string }} Words */
/** @typedef {{ words: Words, waiting: boolean, gpc: boolean, dnt: boolean }} Signals */

export const WORDS = /** @type {const} */ (['ad_storage', 'ad_user_data', 'ad_personalization']);

// The verdicts, numbered so that the strictest is the greatest.
export const FULL = 0;
export const LIMITED = 1;
export const HOLD = 2;
export const DROP = 3;

/**
 * @param {Words} words at least one of the three; one that is absent beside another is a denial
 * @param {boolean} optOut
 */
const ofWords = (words, optOut) => {
  const storage = words.ad_storage;
  const readable = Object.values(words).every((word) => word === 'granted' || word === 'denied');
  if (!storage || storage === 'denied' || !(readable || optOut)) return DROP;
  return WORDS.every((name) => words[name] === 'granted') ? FULL : LIMITED;
};

/**
 * GPC and DNT only ever take away: where nobody consented yet under opt_in, GPC is no permission either.
 * @param {Signals} signals
 * @param {Regime} regime
 */
export const decide = ({ words, waiting, gpc, dnt }, regime) => {
  const optOut = regime === 'opt_out';
  const silent = !Object.keys(words).length;
  return Math.max(
    waiting ? HOLD : !silent ? ofWords(words, optOut) : optOut ? FULL : HOLD,
    gpc ? LIMITED : FULL,
    !dnt ? FULL : optOut ? LIMITED : silent ? DROP : FULL,
  );
};
