// Comfort over pages that work without it: live sizes, copy buttons, times of this place. It makes no markup.

const each = (root, selector, act) => root.querySelectorAll(selector).forEach(act);

// --- Live rows: one stream a page, none while nobody looks.

let stream;

const show = (row) => {
  const place = document.querySelector(`[data-row="${CSS.escape(row.id)}"]`);
  if (!place) return;
  place.dataset.status = row.status;
  const put = (name, text, tone) => {
    const part = place.querySelector(`[data-part="${name}"]`);
    if (tone !== undefined) part.className = `delta num ${tone}`;
    if (part.textContent === text) return;
    part.textContent = text;
    if (name === 'size') {
      part.classList.remove('moved');
      void part.offsetWidth; // so that the same animation starts anew
      part.classList.add('moved');
    }
  };
  for (const name of ['size', 'label', 'note']) put(name, row[name]);
  for (const name of ['day', 'week']) put(name, row[name][0], row[name][1]);
};

const tell = (state) => each(document, '.live', (live) => {
  live.dataset.state = state;
  const word = live.querySelector('[data-live-word]');
  word.textContent = word.dataset[state];
});

const watch = () => {
  const list = document.querySelector('[data-live]');
  const wanted = !list || document.hidden || list.dataset.live.endsWith('=') ? '' : new URL(list.dataset.live, location).href;
  if (stream?.url === wanted && stream.readyState !== EventSource.CLOSED) return; // a part of the page came in
  stream?.close();
  stream = undefined;
  if (!wanted) return;
  stream = new EventSource(wanted);
  stream.onopen = () => tell('on');
  stream.onerror = () => {
    tell('off');
    // A stream that was refused is not tried again by itself: signed out, or the collector is starting.
    if (stream.readyState === EventSource.CLOSED) setTimeout(watch, 5000);
  };
  stream.onmessage = ({ data }) => JSON.parse(data).forEach(show);
};

document.addEventListener('visibilitychange', watch);
document.addEventListener('htmx:after:swap', () => dress(document));
addEventListener('pagehide', () => stream?.close());

// --- Copy, times, keys

document.addEventListener('click', async ({ target }) => {
  const button = target.closest('[data-copy]');
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.classList.add('done');
    setTimeout(() => button.classList.remove('done'), 1500);
  } catch {
    getSelection().selectAllChildren(source); // no clipboard without https: it is at least marked
  }
});

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select')) return;
  const wanted = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!wanted) return;
  event.preventDefault();
  wanted.focus();
});

// One open menu at a time; Escape and a click elsewhere close it.
const closing = 'details.me[open], details.confirm[open]';
document.addEventListener('click', ({ target }) => each(document, closing, (it) => it.contains(target) || (it.open = false)));
document.addEventListener('keydown', ({ key }) => {
  if (key !== 'Escape') return;
  each(document, closing, (it) => {
    it.open = false;
    it.querySelector('summary').focus();
  });
});

// English with the day before the month, as the server writes it.
const written = new Intl.DateTimeFormat(document.documentElement.lang.replace(/^en$/, 'en-GB'), { dateStyle: 'medium', timeStyle: 'short' });
const dress = (root) => {
  each(root, '[data-unix]', (time) => {
    const instant = new Date(time.dataset.unix * 1000);
    time.dateTime = instant.toISOString();
    time.textContent = written.format(instant);
  });
  watch();
};
dress(document);

// On a phone the menu scrolls sideways: the page where one is stays in sight.
document.querySelector('.side nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });

// A link of the console has one thing to do.
document.querySelector('[data-send]')?.requestSubmit();
