/** The address of an application that changes pages without loading them. */

/** An address as visits are told apart: fragments are places on a page. @param {string} url */
export const pageOf = (url) => url.split('#')[0];

/**
 * Calls back once the script that changed the address is done, so that a redirect in the same breath, and
 * the page's own call, come first.
 * @param {() => void} moved
 */
export const watchRoute = (moved) => {
  const later = () => setTimeout(moved);
  for (const name of /** @type {const} */ (['pushState', 'replaceState'])) {
    const own = history[name];
    history[name] = function () {
      own.apply(this, /** @type {any} */ (arguments));
      later();
    };
  }
  addEventListener('popstate', later);
};
