/** A vendor's event in the collector's words: names, data, line items. Pure. */

/** Ours for what vendors call otherwise, without case and `_`; the collector knows the other names as they are. */
const EVENTS = {
  pagevisit: /^page(view)?$/,
  checkout: /^(purchase|completepayment|placeanorder)$/,
  initiatecheckout: /^begincheckout$/,
  viewcontent: /^viewitem$/,
  viewcategory: /^viewitemlist$/,
  search: /^viewsearchresults$/,
  signup: /^completeregistration$/,
  lead: /^(generatelead|submitform)$/,
};

const FIELDS = {
  order_id: /^transaction_id$/,
  order_quantity: /^num_items$/,
  promo_code: /^coupon$/,
  search_query: /^(search_(string|term)|query)$/,
};

/** @param {string} name @param {Record<string, RegExp>} words */
const ours = (name, words) => Object.keys(words).find((word) => words[word].test(name)) || name;

/** One name for what vendors call differently, to be compared by. @param {unknown} name */
export const nameOf = (name) => ours(String(name).toLowerCase().replace(/_/g, ''), EVENTS);

/** Whether a name says an event wherever it stands; a data layer is full of others. @param {unknown} name */
export const known = (name) => nameOf(name) in EVENTS;

export const isObject = (/** @type {unknown} */ value) => Object(value) === value;

/**
 * What is nested is left out: vendors take e-mail addresses there (Google's user_data).
 * @param {any} given
 * @param {(name: string) => string} word the name that a field is to have; empty: leave it out
 */
const rename = (given, word) => {
  /** @type {Record<string, any>} */
  const renamed = {};
  for (const name in given) {
    const as = word(name);
    if (as && !isObject(given[name])) renamed[as] ??= given[name];
  }
  return renamed;
};

/** Whom it is about is left out here too: TikTok and data layers have it beside the rest. @param {string} name */
const field = (name) => (/^(gtm\.|send_to|event$)|mail|phone/i.test(name) ? '' : ours(name, FIELDS));

/** Of item_price, content_id, name … */
const ITEM = /^((item|content|product)_)?(id|name|category|brand|variant|price|quantity)$/;

/** @param {any} data the vendor's, of any type */
export const dataOf = (data) => {
  if (!isObject(data)) return {};
  const { line_items, contents, items, content_ids, content_id } = data;
  const products = line_items || contents || items || content_ids || (content_id && data);
  const event = rename(data, field);
  if (products)
    event.line_items = [products].flat().map((item) =>
      // Fields of its own an item keeps, but not those of the event that is its own item.
      rename(isObject(item) ? item : { id: item }, (name) =>
        ITEM.test(name) || item !== data ? name.replace(ITEM, 'product_$3') : '',
      ),
    );
  return event;
};
