/** Hears the calls of a property's function, whoever replaces it later; the calls themselves stay as they are. */

/** @typedef {(args: any, target?: Function) => void} Hear what was called; without a target: earlier */

/** Nothing here may show in the page. @param {() => void} work */
export const safely = (work) => {
  try {
    work();
  } catch {}
};

/**
 * Wraps a property's value, and every later one.
 * @param {any} object
 * @param {string} name
 * @param {(value: any) => any} wrap must give back what it wrapped before as it is
 */
export const watch = (object, name, wrap) =>
  safely(() => {
    const own = Object.getOwnPropertyDescriptor(object, name);
    let value = wrap(object[name]);
    if (own && !own.configurable) object[name] = value; // declared as `var fbq`: its successor is not heard
    else
      Object.defineProperty(object, name, {
        configurable: true,
        enumerable: own?.enumerable ?? !(name in object),
        get: () => value,
        set: (given) => (value = wrap(given)),
      });
  });

/** @type {WeakMap<Function, Function>} functions, and their proxies → the proxy, so that `fbq === _fbq` stays true */
const proxies = new WeakMap();

/**
 * @param {any} object
 * @param {string} name of a method, there or to come
 * @param {Hear} hear called before each call
 * @param {(result: any, args: any[]) => void} [then] called with what it returned
 */
export const overhear = (object, name, hear, then) =>
  watch(object, name, (target) => {
    if (typeof target !== 'function') return target;
    const known = proxies.get(target);
    if (known) return known;
    const proxy = new Proxy(target, {
      apply(_, self, args) {
        safely(() => hear(args, target));
        const result = Reflect.apply(target, self, args);
        if (then) safely(() => then(result, args));
        return result;
      },
    });
    proxies.set(target, proxy).set(proxy, proxy);
    return proxy;
  });
