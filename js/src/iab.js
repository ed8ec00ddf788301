/** What the IAB's platforms tell a page about consent, and the votes that follow. Pure. */

import { DROP, FULL, LIMITED } from './consent.js';

/** @typedef {Record<string, any>} Tcf the tcData of `__tcfapi`, once it has an answer */
/** @typedef {Record<string, any>} Gpp the pingData of `__gpp`, once it is ready */
/** @typedef {{ tcf?: Tcf | null, gpp?: Gpp | null }} Said undefined without such a platform, null until it has an answer */

/**
 * What TCF votes where gdprApplies. Purposes: 1 storage, 3 a profile for advertising, 7 measuring ads, 9 research. Legitimate interest is never asked.
 * @param {Tcf} tcf @param {number} [vendor]
 */
export const voteOfTcf = (tcf, vendor) => {
  const vendors = tcf.vendor;
  /** @param {number} id */
  const allows = (id) =>
    tcf.tcString &&
    (vendor
      ? vendors.consents[vendor] &&
        (vendors.disclosedVendors || vendors.consents)[vendor] && // shown to the visitor, where that is told
        tcf.purpose.consents[id] &&
        // 0 forbids the purpose, 2 allows it by legitimate interest only
        !/[02]/.test(tcf.publisher?.restrictions?.[id]?.[vendor])
      : tcf.publisher?.consents?.[id]);
  return !allows(1) ? DROP : allows(3) ? FULL : allows(7) || allows(9) ? LIMITED : DROP;
};

/**
 * The US sections' vote. The section tcfeuv2 speaks for itself by `__tcfapi`; without that nobody has read it.
 * @param {Gpp} gpp @param {number} doubtful the vote of what is malformed
 * @param {Tcf | null} [tcf]
 */
export const voteOfGpp = (gpp, doubtful, tcf) => {
  const ids = gpp.applicableSections || [];
  const names = /^0?$/.test(ids) // where nobody said which apply, all do
    ? Object.keys(gpp.parsedSections)
    : ids
        .filter((/** @type {number} */ id) => id > 0) // -1: none does
        .map((/** @type {number} */ id) =>
          gpp.supportedAPIs.find((/** @type {any} */ api) => api.split(':')[0] == id)?.split(':')[1],
        );
  const text = names.map((/** @type {string} */ name) => name + '' + JSON.stringify(gpp.parsedSections[name])).join('"');
  // The TCF's answer follows as text: `undefined` where there is no `__tcfapi`.
  return /tcfeuv2.*undefined$|KnownChild\w*":[^"]*[1-9]/.test(text + tcf)
    ? DROP
    : /tcf(?!euv2)|[^2]undefined|OptOut":3/.test(text)
      ? doubtful
      : /OptOut(Sale)?":"?[1Y]|"Gpc":[t1]/.test(text) ? LIMITED : FULL;
};
