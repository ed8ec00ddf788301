// The shop's own script: the consent banner, the cart, and the calls to the tag that any shop would make.
const find = (what, within = document) => within.querySelector(what);
const all = (what, within = document) => [...within.querySelectorAll(what)];

const keep = (name, value) => localStorage.setItem('shop.' + name, JSON.stringify(value));
const kept = (name) => JSON.parse(localStorage.getItem('shop.' + name));

// ---- Consent. What the visitor said is kept, and said to the tag again on every page.
const WORDS = ['ad_storage', 'ad_user_data', 'ad_personalization'];
const every = (word) => Object.fromEntries(WORDS.map((name) => [name, word]));
const banner = find('#banner');
const boxes = find('form', banner);
const granted = (choice) => !!choice && choice.ad_storage === 'granted';

const tell = (choice) => {
  collect('setconsent', granted(choice));
  if (granted(choice)) collect('consent', 'update', choice);
};

const show = () => {
  const choice = kept('choice');
  for (const name of WORDS) boxes.elements[name].checked = !!choice && choice[name] === 'granted';
  find('[data-refuse]').textContent = granted(choice) ? 'Withdraw' : 'Refuse';
  banner.hidden = false;
};
const unfold = (open) => {
  boxes.hidden = !open;
  find('[data-save]').hidden = !open;
  find('[data-choose]').hidden = open;
};
const choose = (choice) => {
  keep('choice', choice);
  tell(choice);
  banner.hidden = true;
  unfold(false);
  find('[data-withdraw]').hidden = !granted(choice);
};

find('[data-accept]').onclick = () => choose(every('granted'));
find('[data-refuse]').onclick = () => choose(every('denied'));
find('[data-withdraw]').onclick = () => choose(every('denied'));
find('[data-choose]').onclick = () => unfold(true);
find('[data-save]').onclick = () =>
  choose(Object.fromEntries(WORDS.map((name) => [name, boxes.elements[name].checked ? 'granted' : 'denied'])));
find('[data-open]').onclick = show;

const said = kept('choice');
if (said) choose(said);
else show();

// ---- The cart: {product id: quantity}.
const cart = () => kept('cart') || {};
const money = (euros) => `${euros} €`;
const lines = () =>
  all('[data-line]').map((row) => {
    const item = JSON.parse(row.dataset.line);
    return { row, item: { ...item, product_quantity: cart()[item.product_id] || 0 } };
  });
const chosen = () => lines().map(({ item }) => item).filter((item) => item.product_quantity);
const worth = (items) => items.reduce((sum, item) => sum + item.product_price * item.product_quantity, 0);
const priced = (items) => ({ value: worth(items), currency: 'EUR', line_items: items });

const count = () => {
  const number = Object.values(cart()).reduce((sum, quantity) => sum + quantity, 0);
  find('[data-count]').textContent = number;
  find('[data-count]').hidden = !number;
};
const draw = () => {
  count();
  if (!find('[data-full]')) return;
  for (const { row, item } of lines()) {
    row.hidden = !item.product_quantity;
    find('[data-quantity]', row).textContent = item.product_quantity;
  }
  find('[data-total]').textContent = money(worth(chosen()));
  find('[data-full]').hidden = !chosen().length;
  find('[data-empty]').hidden = !!chosen().length;
};

for (const button of all('[data-add]')) {
  button.disabled = false; // a click before this script had come would be lost
  button.onclick = () => {
    const item = JSON.parse(button.dataset.add);
    keep('cart', { ...cart(), [item.product_id]: (cart()[item.product_id] || 0) + 1 });
    collect('track', 'addtocart', priced([item]));
    count();
    button.textContent = 'In the cart';
    setTimeout(() => (button.textContent = 'Add another'), 1500);
  };
}
for (const button of all('[data-remove]'))
  button.onclick = () => {
    const { product_id } = JSON.parse(button.closest('[data-line]').dataset.line);
    const { [product_id]: gone, ...rest } = cart();
    keep('cart', rest);
    draw();
  };
draw();

// ---- Checkout, and the thank-you page: a reload of it sends the same order again, which is a duplicate.
if (find('#checkout') && chosen().length) {
  const { value, currency, line_items } = priced(chosen());
  collect('track', 'initiatecheckout', { value, currency, line_items });
  find('#checkout form').onsubmit = (event) => {
    event.preventDefault();
    const order_quantity = line_items.reduce((sum, item) => sum + item.product_quantity, 0);
    const order_id = 'M' + Date.now().toString(36).toUpperCase();
    keep('order', { order_id, order_quantity, value, currency, line_items });
    keep('cart', {});
    location.assign('/shop/thanks');
  };
}
if (find('#thanks') && kept('order')) {
  find('[data-order]').textContent = kept('order').order_id;
  collect('track', 'checkout', kept('order'));
}

// ---- The letter: the address is hashed by the tag, in the page.
find('#letter').onsubmit = (event) => {
  event.preventDefault();
  collect('set', { em: find('#em').value });
  collect('track', 'signup', { lead_type: 'letter' });
  find('#letter output').textContent = 'Thank you. (It is a demo: no letter comes.)';
};
