/** Where Pinterest, Meta, TikTok and Google are told of events, already and from now on. */

import { dataOf, isObject, known, nameOf } from './translate.js';
import { overhear, safely, watch } from './watch.js';

/** @typedef {import('./once.js').Told} Told */
/** @typedef {import('./watch.js').Hear} Hear */

/** @param {(told: Told) => void} tell called once for each time that a vendor is told */
export const listen = (tell) => {
  const page = /** @type {any} */ (window);

  /**
   * @param {string} vendor
   * @param {Function | undefined} via none: it was told before we came
   * @param {any} word
   * @param {any} [given]
   * @param {any} [eventId]
   */
  const say = (vendor, via, word, given, eventId) =>
    word &&
    tell({
      name: nameOf(word),
      said: known(word) ? nameOf(word) : word, // a name of the page's own is its own, with `_`
      pixel: vendor + word, // TikTok's PlaceAnOrder and CompletePayment may mean one order, as two vendors' calls
      via,
      given,
      time: Date.now(),
      data: dataOf(given),
      eventId: eventId || given?.event_id,
    });

  /** @type {Hear} */
  const pinterest = ([word, name, data], via) => {
    if (word === 'track') say('pintrk', via, name, data);
    if (word === 'page') say('pintrk', via, word, name);
  };

  /** @type {Hear} */
  const meta = ([word, ...args], via) => {
    const pixel = /Single/.test(word) ? args.shift() : '';
    if (/^track/.test(word)) say('fbq' + pixel, via, args[0], args[1], args[2]?.eventID);
  };

  /** gtag's calls are arguments objects, a tag manager's entries plain ones. @type {Hear} */
  const google = (items, via) => {
    for (const item of items)
      if (item?.[0] === 'event') say('gtag', via, item[1], item[2]);
      else if (item?.event && (item.ecommerce || known(item.event)))
        say('gtm', via, item.event, item.ecommerce || item, item.event_id);
  };

  const opened = new WeakSet();

  /**
   * Opens an object once; what is none stays itself.
   * @param {(object: any) => void} open
   */
  const once = (open) => (/** @type {any} */ object) => {
    if (isObject(object) && !opened.has(object)) {
      opened.add(object);
      safely(() => open(object));
    }
    return object;
  };

  /** @param {string} pixel */
  const tiktok = (pixel) =>
    once((ttq) => {
      /** @type {Record<string, Hear>} */
      const methods = {
        track: ([name, data, options], via) => say('ttq' + pixel, via, name, data, options?.event_id),
        page: (_, via) => say('ttq' + pixel, via, 'page'),
      };
      // The stub is an array of [method, …arguments]; each pixel has one more, in `_i`.
      ttq.forEach?.((/** @type {any} */ [method, ...args]) => safely(() => methods[method]?.(args)));
      for (const id in ttq._i) tiktok(id)(ttq._i[id]);
      for (const method in methods) overhear(ttq, method, methods[method]);
      overhear(ttq, 'instance', () => {}, (instance, [id]) => tiktok(id)(instance));
    });

  for (const [name, hear] of /** @type {[string, Hear][]} */ ([['pintrk', pinterest], ['fbq', meta]])) {
    for (const call of page[name]?.queue || []) safely(() => hear(call));
    overhear(page, name, hear);
  }
  overhear(page, '_fbq', meta); // the library warns where the two differ
  watch(page, 'ttq', tiktok(''));
  watch(
    page,
    'dataLayer',
    once((layer) => {
      google(layer);
      overhear(layer, 'push', google);
    }),
  );
};
