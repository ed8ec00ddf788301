/** What the browser itself says about privacy. */

/** Read at every decision, because extensions change both while a page is open. */
export const browserSignals = () => ({
  dnt: navigator.doNotTrack === '1',
  gpc: navigator.globalPrivacyControl === true,
});
