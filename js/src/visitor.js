/** The first-party visitor id: a cookie of the site and all its subdomains, 32 lower-case hex digits. */

import { randomHex } from './random.js';

const LIFE = 395 * 86400; // seconds; browsers cap a cookie at 400 days

/** @type {string | undefined} where cookies are blocked: one visitor a page, not one a request */
let passing;
let renewed = false; // on this page

/** The host's domains, the shortest first, then the host alone: example, shop.example, www.shop.example. */
const domains = () => [
  ...location.hostname.split('.').map((_, index, labels) => ';Domain=' + labels.slice(~index).join('.')),
  '',
];

/** The page's cookies, or that one written; none where asking throws: a sandboxed frame. @param {string} [one] */
const cookie = (one) => {
  try {
    return one ? (document.cookie = one) : document.cookie;
  } catch {
    return '';
  }
};

/** @param {string} id @param {number} life in seconds; 0 deletes @param {string} domain */
const write = (id, life, domain) =>
  cookie(
    `_collector_id=${id};Max-Age=${life};Path=/;SameSite=Lax` + domain + (location.protocol === 'https:' ? ';Secure' : ''),
  );

const read = () => /\b_collector_id=([0-9a-f]{32})\b/.exec(cookie())?.[1];

/** The id on this device, if there is one. */
export const readVisitor = () => read() || passing;

/**
 * The id on this device, made if need be and its life renewed, once a page: cookies are slow. Only full consent
 * may call this.
 *
 * It goes to the shortest domain that the browser takes: never a public suffix, whose list the browser has and
 * a tag cannot carry. The trial begins with nothing there, as else an older cookie would pass for the new one.
 */
export const keepVisitor = () => {
  const found = read();
  const id = found || passing || randomHex();
  if (!found || !renewed) {
    forgetVisitor();
    domains().find((domain) => {
      write(id, LIFE, domain);
      return read();
    });
  }
  renewed = true;
  passing = read() ? undefined : id; // a cookie that is there is the only truth: another page may delete it
  return id;
};

export const forgetVisitor = () => {
  passing = undefined;
  domains().forEach((domain) => write('', 0, domain));
};
