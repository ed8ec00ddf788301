/** The first-party visitor id: a cookie of the site, 32 lower-case hex digits. */

import { randomHex } from './random.js';

const LIFE = 395 * 86400; // seconds; browsers cap a cookie at 400 days

/** The id on this device, if there is one. */
export const readVisitor = () => (/(?:^|; )_collector_id=([0-9a-f]{32})(?:;|$)/.exec(document.cookie) || [])[1];

/** @param {string} id @param {number} life in seconds; 0 deletes */
const write = (id, life) => {
  document.cookie =
    `_collector_id=${id};Max-Age=${life};Path=/;SameSite=Lax` + (location.protocol === 'https:' ? ';Secure' : '');
};

/**
 * The id on this device, made if need be and its life renewed. Only full consent may call this.
 * Read back, so that where cookies are blocked no id is sent that the next page would not know.
 */
export const keepVisitor = () => {
  write(readVisitor() || randomHex(), LIFE);
  return readVisitor();
};

export const forgetVisitor = () => write('', 0);
