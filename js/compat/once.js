/** Recognises a conversion that is told several times, so that it counts once. Pure. */

/**
 * @typedef {object} Told
 * @property {string} name to compare by
 * @property {string} said the name to tell; the collector knows its own in any spelling
 * @property {string} pixel that was told, and by which word
 * @property {Function} [via] through which it was told
 * @property {any} [given] what the page said, as it is
 * @property {number} time Unix milliseconds
 * @property {Record<string, any>} data
 * @property {string} [eventId]
 */

/** @typedef {Told & { tellers: Told[], ids: string[], own?: boolean }} Conversion own: the page's visit, not only a vendor's */

/** Milliseconds in which vendors hear of one click; a tag manager may load a vendor first. */
const NEAR = 5000;

const MOST = 200; // a page that stays open for days

/** Both said and not the same. @param {any} a @param {any} b */
const differ = (a, b) => a && b && a != b && +a !== +b;

/**
 * Takes what was told; the conversion that it belongs to: a new one if nobody else is among its tellers.
 *
 * The same order id or event id is the same conversion at any time. Else a conversion takes one telling from
 * each teller, so that two clicks, each told to three vendors, stay two: that of the very same data, because
 * a library tells itself again what its stub had queued (other data by the same word is another click); or one
 * that came within NEAR, if order, value and currency do not contradict.
 */
export const openConversions = () => {
  /** @type {Conversion[]} */
  const all = [];

  /** @param {Told} told @returns {Conversion} */
  return (told) => {
    const { name, pixel, via, given, time, data, eventId } = told;
    const ids = [data.order_id, eventId].filter(Boolean).map(String);
    const same = all.filter((other) => other.name === name);
    const found =
      same.find((other) => ids.some((id) => other.ids.includes(id))) ||
      same.find(
        (other) =>
          !other.tellers.some(
            (teller) => teller.pixel === pixel && (teller.via === via || (given && teller.given !== given)),
          ) &&
          ((given && other.tellers.some((teller) => teller.given === given)) ||
            (time - other.time < NEAR &&
              !['order_id', 'value', 'currency'].some((key) => differ(data[key], other.data[key])))),
      );
    if (found) {
      found.tellers.push(told);
      found.ids.push(...ids);
      found.data = { ...data, ...found.data };
      found.eventId ||= eventId;
      return found;
    }
    const conversion = { ...told, tellers: [told], ids };
    all.splice(0, all.push(conversion) - MOST);
    return conversion;
  };
};
