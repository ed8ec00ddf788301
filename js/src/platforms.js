/** The consent platforms of the page: `__tcfapi`, `__gpp`, and the Consent Mode calls in Google's dataLayer. */

import { safely } from './safely.js';
import { wrap } from './wrap.js';

/**
 * @param {ReturnType<typeof import('./choice.js').openChoice>} choice hears each Consent Mode call of the page
 * @param {() => void} wake called when a platform has something new to say
 * @returns what they say now; asked before every decision, because a platform may arrive after the tag
 */
export const openPlatforms = (choice, wake) => {
  /** @type {import('./iab.js').Said} */
  const said = {};
  /** @type {unknown} */
  let heard;

  /** @param {any} entry */
  const listen = (entry) => {
    if (entry?.[0] !== 'consent') return;
    safely(() => choice.heed(entry[1], entry[2], Date.now()));
    wake();
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
      // Whether the visitor has answered, or is known not to be asked.
      said[name] =
        success &&
        (told.signalStatus === 'ready' ||
          (told.gdprApplies ? /^(tcl|user)/.test(told.eventStatus) : told.gdprApplies === false))
          ? told
          : null;
      wake();
    });
  };

  return () => {
    const dataLayer = window.dataLayer;
    if (Array.isArray(dataLayer) && dataLayer !== heard) {
      heard = dataLayer;
      dataLayer.forEach(listen);
      wrap(dataLayer, 'push', (entries) => entries.forEach(listen));
    }
    ask('tcf', window.__tcfapi, 2);
    ask('gpp', window.__gpp);
    return said;
  };
};
