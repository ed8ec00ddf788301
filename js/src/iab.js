/** What the IAB's platforms tell a page about consent, and the votes that follow. Pure. */

import { DROP, FULL, HOLD, LIMITED, SILENT } from './consent.js';

/** @typedef {Record<string, any>} Tcf the tcData of `__tcfapi`, once it has an answer */
/** @typedef {Record<string, any>} Gpp the pingData of `__gpp`, once it is ready */
/** @typedef {{ tcf?: Tcf | null, gpp?: Gpp | null }} Said undefined without such a platform, null until it has an answer */

/** Whether the visitor has answered, or is known not to be asked. @param {Tcf | Gpp} data */
export const answered = (data) =>
  data.signalStatus === 'ready' || (data.gdprApplies ? /^(tcl|user)/.test(data.eventStatus) : data.gdprApplies === false);

/**
 * Purposes: 1 storage, 3 a profile for advertising, 7 measuring ads, 9 research. Legitimate interest is never asked.
 * @param {Tcf | null | undefined} tcf @param {number} [vendor]
 */
export const voteOfTcf = (tcf, vendor) => {
  if (!tcf) return tcf === null ? HOLD : SILENT;
  /** @param {number} id */
  const allows = (id) =>
    tcf.tcString &&
    (vendor
      ? tcf.vendor.consents[vendor] &&
        (tcf.vendor.disclosedVendors || tcf.vendor.consents)[vendor] && // shown to the visitor, where that is told
        tcf.purpose.consents[id] &&
        // 0 forbids the purpose, 2 allows it by legitimate interest only
        ![0, 2].includes(tcf.publisher?.restrictions?.[id]?.[vendor])
      : tcf.publisher?.consents?.[id]);
  return !tcf.gdprApplies ? SILENT : !allows(1) ? DROP : allows(3) ? FULL : allows(7) || allows(9) ? LIMITED : DROP;
};

/**
 * The US sections' vote. The section tcfeuv2 speaks for itself by `__tcfapi`; without that nobody has read it.
 * @param {Gpp | null | undefined} gpp @param {number} doubtful the vote of what is malformed
 * @param {Tcf | null} [tcf]
 */
export const voteOfGpp = (gpp, doubtful, tcf) => {
  if (!gpp) return gpp === null ? HOLD : SILENT;
  const { parsedSections, supportedAPIs, applicableSections: ids = [] } = gpp;
  const names = /^0?$/.test(ids) // where nobody said which apply, all do
    ? Object.keys(parsedSections)
    : ids
        .filter((/** @type {number} */ id) => id > 0) // -1: none does
        .map((/** @type {number} */ id) =>
          RegExp(`\\b${id}:(\\w+)`).exec(supportedAPIs)?.[1],
        );
  const text = names.map((/** @type {string} */ name) => name + JSON.stringify(parsedSections[name])).join('"');
  return (tcf === undefined && /tcfeuv2/.test(text)) || /"KnownChild\w*":[^"]*[1-9]/.test(text)
    ? DROP
    : /tcf(?!euv2)|[^2]undefined|OptOut":3/.test(text)
      ? doubtful
      : /OptOut(Sale)?":"?[1Y]|"Gpc":(true|1)/.test(text) ? LIMITED : SILENT;
};
