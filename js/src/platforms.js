/** The consent platforms of the page: `__tcfapi`, `__gpp`, and the Consent Mode calls in Google's dataLayer. */

import { answered } from './iab.js';

/**
 * @param {(action: any, words: any) => void} hear called for each Consent Mode call of the page
 * @param {() => void} wake called when a platform has something new to say
 * @returns what they say now; asked before every decision, because a platform may arrive after the tag
 */
export const openPlatforms = (hear, wake) => {
  /** @type {import('./iab.js').Said} */
  const said = {};
  /** @type {unknown} */
  let heard;

  /** @param {any} entry */
  const listen = (entry) => {
    if (entry?.[0] !== 'consent') return;
    hear(entry[1], entry[2]);
  };

  /**
   * @param {'tcf' | 'gpp'} name @param {any} platform of the page, if it has one
   * @param {number[]} version
   */
  const ask = (name, platform, ...version) => {
    // Names in a page may be anybody's: an element with such an id is one too.
    if (typeof platform !== 'function' || name in said) return;
    said[name] = null;
    platform('addEventListener', ...version, (/** @type {any} */ data, /** @type {unknown} */ success) => {
      const told = data?.pingData || data;
      said[name] = success && answered(told) ? told : null;
      wake();
    });
  };

  return () => {
    const { dataLayer, __tcfapi, __gpp } = window;
    if (Array.isArray(dataLayer) && dataLayer !== heard) {
      heard = dataLayer;
      dataLayer.forEach(listen);
      const { push } = dataLayer;
      /** @param {any[]} entries */
      dataLayer.push = (...entries) => {
        entries.forEach(listen);
        return push.apply(dataLayer, entries);
      };
    }
    ask('tcf', __tcfapi, 2);
    ask('gpp', __gpp);
    return said;
  };
};
