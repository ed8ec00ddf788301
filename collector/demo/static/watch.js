// Tells the panel around the shop what the tag is told and what it does. A real shop has no such script.
// It comes before the snippet, and does nothing where there is no panel.
(() => {
  if (parent === window) return;
  const load = String(performance.timeOrigin); // names this load of the page
  const tell = (note) => parent.postMessage({ watch: load, at: Date.now(), page: location.pathname, ...note }, location.origin);

  let count = 0;
  let own; // the snippet's collect()
  let watched;

  /** Hands an event on with a callback of ours, through which the tag tells its fate. */
  const follow = (command) => {
    const name = command[0] === 'page' ? 'pagevisit' : command[1];
    const place = command[0] === 'page' ? 2 : 3;
    const key = load + '/' + ++count;
    const theirs = command[place];
    tell({ key, event: name });
    command[place] = (sent, reason) => {
      tell({ key, sent, reason });
      if (theirs) theirs(sent, reason);
    };
  };

  // The snippet makes `collect` and reads it by its name: both pass here.
  Object.defineProperty(window, 'collect', {
    configurable: true,
    get: () => watched,
    set(made) {
      own = made;
      watched = (...command) => {
        if (command[0] === 'page' || command[0] === 'track') follow(command);
        if (command[0] === 'setconsent') tell({ consent: String(command[1]) });
        own(...command);
      };
    },
  });

  const described = (url, body) => {
    if (!String(url).endsWith('/v1/events')) return undefined;
    const { events, withdraw } = JSON.parse(body);
    return { request: load + '/' + ++count, events: events.length, withdraw: !!withdraw, bytes: new Blob([body]).size };
  };

  const { fetch } = window;
  window.fetch = (url, options) => {
    const request = options && options.method === 'POST' ? described(url, options.body) : undefined;
    const asked = fetch(url, options);
    if (!request) return asked;
    tell({ ...request, by: 'fetch' });
    const begun = performance.now();
    asked.then(
      ({ status }) => tell({ ...request, by: 'fetch', status, ms: Math.round(performance.now() - begun) }),
      () => tell({ ...request, by: 'fetch', status: 0 }),
    );
    return asked;
  };

  const beacon = navigator.sendBeacon;
  navigator.sendBeacon = (url, body) => {
    const request = described(url, body);
    const taken = beacon.call(navigator, url, body);
    if (request) tell({ ...request, by: 'beacon', taken });
    return taken;
  };

  addEventListener('pagehide', () => tell({ left: true }));
})();
