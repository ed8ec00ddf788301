// The builder's comfort: sizes, errors and the JSON as one types. All text comes from the server and is put in as text.

const form = document.getElementById('builder');
const at = (id) => document.getElementById(id);
const SAVED = ['name', 'description']; // judged when they are saved
const PAUSE = 250; // milliseconds without a key before it is counted

const fields = () => {
  const sent = [...new FormData(form)].filter(([name, value]) => value && name !== 'token');
  // The JSON says the same as the fields, unless it is where somebody writes.
  return new URLSearchParams(sent.filter(([name]) => name !== 'rule' || form.elements.from.value === 'json'));
};

const blame = (wrong) => {
  for (const place of form.querySelectorAll('[data-wrong]')) {
    const field = at(place.dataset.wrong);
    if (SAVED.includes(field?.name)) continue;
    // Nobody is told off for a field that they have not come to yet.
    const early = field && field !== form.elements.rule && !field.value && field.dataset.left === undefined;
    const said = early ? '' : wrong[place.dataset.wrong] ?? '';
    if (place.textContent !== said) place.textContent = said;
    if (said) field?.setAttribute('aria-invalid', 'true');
    else field?.removeAttribute('aria-invalid');
  }
};

const bar = (share) => {
  const meter = document.createElement('meter');
  meter.value = share;
  return meter;
};

const tell = ({ size, steps = [], shares = [], note = '', memory = '', before = '' }) => {
  form.classList.remove('counting');
  form.classList.toggle('unknown', size === undefined);
  at('size').textContent = size ?? '…';
  for (const [id, text] of Object.entries({ note, memory, before })) at(id).textContent = text;
  form.querySelectorAll('[data-own]').forEach((own) => (own.textContent = steps[own.dataset.own]?.[0] ?? ''));
  const leads = [...form.querySelectorAll('.clause')].map((clause) => {
    const event = clause.querySelector('.fill');
    return `${clause.querySelector('legend').textContent} ${event.value || event.placeholder}`;
  });
  at('steps').replaceChildren(...(steps.length < 2 ? [] : steps).map(([, left], place) => {
    const line = document.createElement('li');
    const name = document.createElement('span');
    name.textContent = leads[place];
    const count = document.createElement('b');
    count.textContent = left;
    line.append(name, count, bar(shares[place]));
    return line;
  }));
};

let pause;
let asking;

const count = async () => {
  asking?.abort();
  asking = new AbortController();
  const asked = fields();
  history.replaceState(null, '', `?${asked}`);
  form.classList.add('counting');
  try {
    const response = await fetch(`${form.dataset.count}?${asked}`, { signal: asking.signal });
    if (!response.ok) throw new Error(response.status);
    const answer = await response.json();
    const json = form.elements.from.value === 'json';
    blame(answer.wrong);
    tell(answer);
    // Where somebody writes JSON, it stays as written; it means the same.
    if (!json && document.activeElement !== at('rule')) form.elements.rule.value = answer.rule;
    if (json && !answer.wrong.rule) at('rule').dispatchEvent(new Event('rebuild'));
  } catch (error) {
    // Signed out, or no answer: the size of before is not that of what is written.
    if (error.name !== 'AbortError') tell({ memory: form.dataset.failed });
  }
};

const soon = () => {
  clearTimeout(pause);
  pause = setTimeout(count, PAUSE);
};

form.addEventListener('input', ({ target }) => {
  if (SAVED.includes(target.name)) {
    at(`${target.name}-wrong`).textContent = '';
    target.removeAttribute('aria-invalid');
    history.replaceState(null, '', `?${fields()}`);
    return;
  }
  form.elements.from.value = target.name === 'rule' ? 'json' : 'sentence';
  soon();
});

form.addEventListener('focusout', ({ target }) => {
  if (target.dataset.left !== undefined || !target.id) return;
  target.dataset.left = '';
  if (!target.value) soon();
});

// A new sentence has come in: after an act, or out of the JSON.
document.addEventListener('htmx:after:swap', () => {
  form.querySelector('[data-fresh]')?.focus();
  form.elements.from.value = 'sentence';
  count();
});

// --- Suggestions: what was really seen, asked for when a field is entered.

const seen = new Map();
const suggest = async (field) => {
  const { suggest: of, of: key } = field.dataset;
  const asked = new URLSearchParams({ of, tag: form.elements.tag.value, key: key ? at(key).value : '', q: of === 'values' ? field.value : '' });
  const address = `${form.dataset.suggest}?${asked}`;
  if (!seen.has(address)) seen.set(address, fetch(address).then((response) => (response.ok ? response.json() : [])));
  const found = await seen.get(address);
  if (document.activeElement !== field) return;
  at('suggestions').replaceChildren(...found.map(([value, label]) => new Option(label, value)));
  field.setAttribute('list', 'suggestions');
};
let typing;
form.addEventListener('focusin', ({ target }) => target.dataset.suggest && suggest(target));
form.addEventListener('input', ({ target }) => {
  clearTimeout(typing);
  if (target.dataset.suggest === 'values') typing = setTimeout(() => suggest(target), PAUSE);
});

// Enter goes on to the next field: it would press the first button, and that takes something away.
form.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.target.tagName !== 'INPUT') return;
  event.preventDefault();
  count();
});

form.classList.add('counted');
count();
