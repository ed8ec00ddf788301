/**
 * Hears every call of a method of the page's, before the method does: dataLayer.push, history.pushState.
 * @param {any} owner @param {string} name
 * @param {(args: any[]) => void} hear
 */
export const wrap = (owner, name, hear) => {
  const own = owner[name];
  owner[name] = (/** @type {any[]} */ ...args) => {
    hear(args);
    return own.apply(owner, args);
  };
};
