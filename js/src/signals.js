/** What the browser itself says about privacy. */

/** Read at every decision, because extensions change both while a page is open. */
export const browserSignals = () => ({
  gpc: navigator.globalPrivacyControl === true,
  dnt: navigator.doNotTrack === '1',
});
