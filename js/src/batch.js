/** Cuts events into request bodies that a browser still carries while the page goes away. Pure. */

/** Bytes; browsers let 64 KiB of keepalive bodies be under way at once. */
export const BODY_LIMIT = 60000;

/** @param {string} text */
export const byteLength = (text) => new Blob([text]).size;

/**
 * Groups in order, each within the limit; an event too large for it goes alone. At least one group.
 * @template {{ json: string }} Held
 * @param {Held[]} held
 * @param {number} overhead bytes of the body around the events
 */
export const intoBatches = (held, overhead) => {
  /** @type {Held[]} */
  let batch = [];
  const batches = [batch];
  let size = overhead;
  for (const item of held) {
    const bytes = byteLength(item.json) + 1; // the comma
    if (batch[0] && size + bytes > BODY_LIMIT) {
      batches.push((batch = []));
      size = overhead;
    }
    batch.push(item);
    size += bytes;
  }
  return batches;
};

/**
 * A body from its envelope, which must end in an empty `events`, and from events that are JSON already.
 * @param {string} envelope
 * @param {{ json: string }[]} held
 */
export const fill = (envelope, held) => envelope.slice(0, -2) + held.map(({ json }) => json) + ']}';
