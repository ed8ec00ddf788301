/**
 * A clock that rings once: the newest time set counts.
 * @param {() => void} work
 * @returns {(wait: number) => void} in milliseconds
 */
export const openAlarm = (work) => {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  return (wait) => {
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
};
