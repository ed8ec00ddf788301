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
   * One that throws has given no answer.
   * @param {'tcf' | 'gpp'} name @param {'__tcfapi' | '__gpp'} platform of the page, if it has one
   * @param {number[]} version
   */
  const ask = (name, platform, ...version) =>
    safely(() => {
      if (name in said) return;
      const call = /** @type {any} */ (window)[platform].bind(); // throws where there is none
      said[name] = null;
      call('addEventListener', ...version, (/** @type {any} */ data, /** @type {unknown} */ success) => {
        const told = success && (data?.pingData || data);
        // Whether the visitor has answered, or is known not to be asked.
        said[name] =
          told &&
          (told.signalStatus === 'ready' ||
            (told.gdprApplies ? /^(tcl|user)/.test(told.eventStatus) : told.gdprApplies === false))
            ? told
            : null;
        wake();
      });
    });

  return () => {
    safely(() => {
      const dataLayer = /** @type {any} */ (window.dataLayer);
      if (dataLayer === heard) return;
      heard = dataLayer;
      dataLayer.forEach(listen);
      wrap(dataLayer, 'push', (entries) => entries.forEach(listen));
    });
    ask('tcf', '__tcfapi', 2);
    ask('gpp', '__gpp');
    return said;
  };
};
