// The browser, and how one gets into the dashboard: for its tests and for its screenshots.

import { createRequire } from 'node:module';

const { chromium } = createRequire(new URL('../../js/package.json', import.meta.url))('playwright-core');

export const { COLLECTOR, KEY } = process.env;
export const ROOT = `${COLLECTOR}/dashboard`;
export const ANNA = { name: 'Anna Lind', login: 'anna@marl.example', password: 'lagom is best of all' };

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });

/** Fills the first-run form, as the holder of the admin key does. */
export const makeFirst = async (page, { name, login, password } = ANNA) => {
  await page.goto(`${ROOT}/first-run`);
  await page.locator('#key').fill(KEY);
  await page.locator('#name').fill(name);
  await page.locator('#login').fill(login);
  await page.locator('#password').fill(password);
  await page.getByRole('button', { name: 'Make my account' }).click();
};

export const signIn = async (page, { login, password } = ANNA) => {
  await page.goto(`${ROOT}/sign-in`);
  await page.locator('#login').fill(login);
  await page.locator('#password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
};

/** Which of a page's pop-ups leave the screen at some width: [width, the word on its button, left, right]. */
export const offScreen = async (page) => {
  const found = [];
  for (const width of [360, 390, 600, 900, 1400]) {
    await page.setViewportSize({ width, height: 850 });
    found.push(...(await page.locator('.confirm').evaluateAll((all) =>
      all.flatMap((popup) => {
        popup.open = true;
        const { left, right } = popup.lastElementChild.getBoundingClientRect();
        const off = left < 0 || right > innerWidth || document.documentElement.scrollWidth > innerWidth;
        popup.open = false;
        return off ? [[innerWidth, popup.firstElementChild.innerText, left, right]] : [];
      }),
    )));
  }
  return found;
};

/** A browser of its own: what it complains of, and what it asks of others than the collector, is in `wrong`. */
export const enter = async (browser, options = {}) => {
  const context = await browser.newContext({ locale: 'en-GB', reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('dialog', (dialog) => wrong.push(dialog.message()));
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
  page.on('request', (request) => /^(http|ws)/.test(request.url()) && new URL(request.url()).origin !== COLLECTOR && wrong.push(request.url()));
  return { context, page, wrong };
};
