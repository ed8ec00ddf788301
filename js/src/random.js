/** Ids that nobody can guess and no two pages share. */

/** 128 random bits as 32 lower-case hex digits. Not crypto.randomUUID, which http pages do not have. */
export const randomHex = () => hex(crypto.getRandomValues(new Uint8Array(16)));

/** @param {ArrayBuffer | ArrayLike<number>} bytes */
export const hex = (bytes) =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
