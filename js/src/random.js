/** Ids that nobody can guess and no two pages share. */

/** 128 random bits as 32 lower-case hex digits. Not crypto.randomUUID, which http pages do not have. */
export const randomHex = () => hex(crypto.getRandomValues(new Uint8Array(16)));

/** @param {any} bytes an array or a buffer of them; nothing is none */
export const hex = (bytes) =>
  [...new Uint8Array(bytes)].map((byte) => (byte + 256).toString(16).slice(1)).join('');
