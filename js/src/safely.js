/**
 * What the work returns, or undefined where it throws: nothing that fails in the tag may show in the page.
 * @template T
 * @param {() => T} work
 */
export const safely = (work) => {
  try {
    return work();
  } catch {}
};
