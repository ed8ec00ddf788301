// The panel beside the shop: hears what watch.js tells, and asks the shop's server for the audiences.
const find = (what, within = document) => within.querySelector(what);
const make = (tag, props = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), props);
  made.append(...children);
  return made;
};

const MOST = 60; // lines of the log
const MINUTE = 60; // points of a curve, one a second
const ASK_SECONDS = 6; // after something was sent: whether the visitor is in the audiences

// What a reason means to somebody who sees it for the first time. docs/outcomes.md has them all.
const REASONS = {
  full: 'stored, counts in audiences',
  limited: 'stored for measurement, in no audience',
  withdrawn: 'withdrawal stored, visitor erased',
  event_id: 'seen before, not counted twice',
  no_visitor: 'no id without full consent: nothing to store it under',
  consent_denied: 'consent was refused: forgotten',
  consent_missing: 'no consent yet',
  bot: 'a crawler',
  unavailable: 'the collector did not take it',
};

// ---- The shop's frame. Its place is kept in the address, so that a reload stays where it was.
const shop = find('#shop');
shop.addEventListener('load', () => {
  const { pathname, search } = shop.contentWindow.location;
  if (pathname.startsWith('/shop/')) history.replaceState(null, '', '#' + pathname + search);
});
shop.src = location.hash.startsWith('#/shop/') ? location.hash.slice(1) : '/shop/';

// ---- What the tag did.
const events = new Map(); // key → {load, name, state, reason, line}
const requests = new Map(); // key → line
let told; // what the tag was told of consent last
let asking = 0; // until when the server is asked about this visitor
const log = find('#log');

const write = (line) => {
  find('.none', log)?.remove();
  log.prepend(line);
  while (log.children.length > MOST) log.lastChild.remove();
};
const time = (at) => new Date(at).toTimeString().slice(0, 8);

const paint = (event) => {
  const said = { held: 'held until consent', sending: 'sending…', sent: '', left: 'went with the page, by beacon', refused: '', forgotten: 'the page was left: forgotten' }[event.state];
  const reason = event.reason ? `${REASONS[event.reason] || ''}` : '';
  event.line.className = event.state;
  find('em', event.line).textContent = { left: 'sent' }[event.state] || event.state;
  find('small', event.line).textContent = [said, reason].filter(Boolean).join(' ') + (event.reason ? ` · ${event.reason}` : '');
  count();
};
const count = () => {
  const states = [...events.values()].map(({ state }) => state);
  const of = { held: 0, sent: 0, refused: 0 };
  for (const state of states) of[{ sending: 'held', left: 'sent', forgotten: 'refused' }[state] || state] += 1;
  for (const [name, number] of Object.entries(of)) find(`[data-of=${name}]`).textContent = number;
  brief.tag = `${of.sent} sent · ${of.held} held · ${of.refused} refused`;
  shorten();
};
const brief = { tag: 'nothing yet', audience: '' };
const shorten = () => (find('#brief').textContent = [brief.tag, brief.audience].filter(Boolean).join(' · '));

const settle = (load, from, state) => {
  for (const event of events.values())
    if (event.load === load && from.includes(event.state)) paint(Object.assign(event, { state }));
};

const heard = {
  event({ watch, key, event: name, page, at }) {
    const line = make('li', {}, make('time', { textContent: time(at) }), make('b', { textContent: name }), make('em'), make('small'));
    line.title = page;
    events.set(key, { load: watch, name, state: 'held', line });
    write(line);
    paint(events.get(key));
  },
  fate({ key, sent, reason }) {
    const event = events.get(key);
    if (event) paint(Object.assign(event, { state: sent ? (reason ? 'sent' : 'left') : 'refused', reason }));
  },
  request({ watch, request, events: number, withdraw, bytes, by, status, ms, at }) {
    asking = Date.now() + ASK_SECONDS * 1000;
    let line = requests.get(request);
    if (!line) {
      settle(watch, ['held'], by === 'beacon' ? 'left' : 'sending');
      line = make('li', { className: withdraw ? 'request withdrawal' : 'request' }, make('time', { textContent: time(at) }), make('b', { textContent: withdraw ? 'withdrawal' : 'POST /v1/events' }), make('em'), make('small'));
      requests.set(request, line);
      write(line);
    }
    find('em', line).textContent = by === 'beacon' ? 'beacon' : status === undefined ? '…' : status || 'no answer';
    find('small', line).textContent = (withdraw ? 'out of every audience, id deleted' : `${number} event${number === 1 ? '' : 's'}, ${bytes} bytes`) + (ms === undefined ? '' : ` · ${ms} ms`);
  },
  consent({ consent, at }) {
    if (consent === told) return; // every page says it again
    told = consent;
    write(make('li', { className: 'said' }, make('time', { textContent: time(at) }), make('b', { textContent: `setconsent(${consent})` })));
  },
  left({ watch }) {
    // A beacon that the tag sends as it leaves is told after this.
    setTimeout(() => {
      settle(watch, ['held'], 'forgotten');
      settle(watch, ['sending'], 'left');
    }, 150);
  },
};
addEventListener('message', ({ origin, data }) => {
  if (origin !== location.origin || !data?.watch) return;
  if (data.event) heard.event(data);
  else if (data.key) heard.fate(data);
  else if (data.request) heard.request(data);
  else if (data.consent) heard.consent(data);
  else if (data.left) heard.left(data);
});

// ---- What is on this device, and so whether the tag may send.
const look = () => {
  const id = /(?:^|; )_collector_id=([0-9a-f]{32})/.exec(document.cookie)?.[1];
  const choice = JSON.parse(localStorage.getItem('shop.choice'));
  const allowed = choice?.ad_storage === 'granted';
  find('#device code').textContent = id ? `_collector_id = ${id.slice(0, 8)}…` : 'no id, no cookie';
  const full = allowed && Object.values(choice).every((word) => word === 'granted');
  const [mood, text] = !choice ? ['holding', 'holding: no answer yet'] : full ? ['sending', 'consent given'] : allowed ? ['partly', 'consent for measurement'] : ['silent', 'silent: refused'];
  Object.assign(find('#mood'), { className: mood, textContent: text });
};

// ---- The audiences and the simulated shoppers, once a second.
const shown = new Map(); // name → {row, sizes}
const row = (name, words) => {
  const made = make('li', {},
    make('div', {}, make('b', { textContent: name }), make('span', { className: 'you', textContent: 'you are in it' }), make('small', { textContent: words })),
    make('span', { className: 'curve' }),
    make('span', { className: 'size' }, make('b'), make('i')));
  find('#audiences').append(made);
  return { row: made, sizes: [], until: 0 };
};
const curve = (sizes) => {
  const least = Math.min(...sizes);
  const span = Math.max(...sizes, least + 4) - least; // one more or less is a step, not a cliff
  const points = sizes.map((size, index) => `${((index * 72) / (sizes.length - 1)).toFixed(1)},${(25 - (24 * (size - least)) / span).toFixed(1)}`).join(' ');
  return `<svg viewBox="0 0 72 26" aria-hidden="true"><polygon points="0,26 ${points} 72,26"/><polyline points="${points}"/></svg>`;
};
const showAudience = ({ name, words, size, you }) => {
  if (!shown.has(name)) shown.set(name, row(name, words));
  const audience = shown.get(name);
  const before = audience.sizes.at(-1);
  if (size !== null) audience.sizes = [...audience.sizes, size].slice(-MINUTE);
  find('.size b', audience.row).textContent = size ?? '…';
  if (audience.sizes.length > 1) find('.curve', audience.row).innerHTML = curve(audience.sizes);
  if (size !== null && before !== undefined && size !== before) {
    const change = find('.size i', audience.row);
    change.textContent = (size > before ? '+' : '−') + Math.abs(size - before);
    change.className = size > before ? 'up' : 'down';
    audience.until = Date.now() + 2500;
  } else if (Date.now() > audience.until) find('.size i', audience.row).textContent = '';
  if (you !== undefined) audience.row.classList.toggle('mine', you);
};
const showCrowd = ({ on, visits, returning, fates }) => {
  Object.assign(find('#crowd input'), { checked: on, disabled: false }); // before, a click would ask for what is
  find('#people').textContent = `${visits} visits so far, ${returning} by somebody who came back.`;
  find('#fates').replaceChildren(
    ...fates.map(({ outcome, reason, events: number }) =>
      make('li', { className: outcome }, make('b', { textContent: number }), ' ', outcome === 'silent' ? 'never sent: refused the banner' : `${outcome} · ${reason}`)),
  );
};
const ask = async () => {
  look();
  const you = Date.now() < asking || shown.size === 0;
  try {
    const state = await (await fetch('/panel/state' + (you ? '?you' : ''))).json();
    if (state.audiences.length) find('#audiences .none')?.remove();
    for (const { you: mine, ...audience } of state.audiences) showAudience({ ...audience, you: you ? mine : undefined });
    brief.audience = state.audiences.length ? `${state.audiences[0].name} ${state.audiences[0].size ?? '…'}` : '';
    shorten();
    showCrowd(state.shoppers);
  } catch {} // the shop's server is starting again
  setTimeout(ask, 1000);
};
find('#crowd input').onchange = ({ target }) => fetch(`/panel/shoppers/${target.checked ? 'on' : 'off'}`, { method: 'PUT' });

// ---- On a phone the panel is a drawer.
find('#handle').onclick = ({ currentTarget }) =>
  currentTarget.setAttribute('aria-expanded', String(document.body.classList.toggle('open')));

count();
ask();
