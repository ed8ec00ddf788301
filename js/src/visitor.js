/** The first-party visitor id: a cookie of the site and all its subdomains, 32 lower-case hex digits. */

import { randomHex } from './random.js';
import { safely } from './safely.js';

const LIFE = 395 * 86400; // seconds; browsers cap a cookie at 400 days

/** @type {string | undefined} where cookies are blocked: one visitor a page, not one a request */
let passing;
let renewed = false; // on this page: it is there, unless a withdrawal elsewhere has taken it

/** None too where asking throws: in a sandboxed frame. */
const read = () => safely(() => /** @type {any} */ (/\b_collector_id=([\da-f]{32})\b/.exec(document.cookie))[1]);

/**
 * For the host's domains, the shortest first, then the host alone, until one takes it: example, shop.example,
 * www.shop.example.
 * @param {string} id an empty one deletes, from all of them
 */
const write = (id) =>
  safely(() => {
    passing = id;
    renewed = !!id;
    const rest = ';Path=/;SameSite=Lax;Max-Age=' + (id ? LIFE : 0) + (/^https/.test(/** @type {any} */ (location)) ? ';Secure' : '');
    [
      ...location.hostname.split('.').map((_, index, labels) => ';Domain=' + labels.slice(~index).join('.')),
      '',
    ].some((domain) => {
      document.cookie = '_collector_id=' + id + domain + rest;
      return read() === id && !(passing = undefined); // a cookie that is there is the only truth
    });
  });

/**
 * The id on this device, if there is one. To keep one is to make it if need be, and to renew its life once a page:
 * cookies are slow. Only with full consent.
 *
 * It goes to the shortest domain that the browser takes: never a public suffix, whose list the browser has and
 * a tag cannot carry. The trial begins with nothing there, as else an older cookie would pass for the new one.
 * @param {boolean} [keep]
 */
export const visitorId = (keep) => {
  let id = read() || passing;
  if (keep && !renewed) {
    if (id) forgetVisitor();
    else id = randomHex();
    write(id);
  }
  return id;
};

export const forgetVisitor = () => write('');
