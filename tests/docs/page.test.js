// The page of docs/quickstart.md in a real browser: held before the visitor agrees, sent and accepted after.

import assert from 'node:assert/strict';
import test from 'node:test';
import { createRequire } from 'node:module';

const { chromium } = createRequire(new URL('../../js/package.json', import.meta.url))('playwright-core');
const { PAGE } = process.env;
const ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
// Headless Chromium names itself so, and the bot filter does its work.
const AGENT = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';

test('a page visit and a cart wait for consent, and are stored with it', async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ARGUMENTS });
  try {
    const page = await browser.newPage({ userAgent: AGENT });
    const answers = [];
    const told = [];
    page.on('response', async (answer) => answer.request().method() === 'POST' && answers.push(...(await answer.json()).results));
    page.on('console', (message) => told.push(message.text()));
    await page.goto(`${PAGE}?collector_debug`);
    await page.getByText('Add to cart').click();
    await page.waitForTimeout(500); // what must not be sent is not sent
    assert.deepEqual(answers, []);
    assert.match(told.join('\n'), /held/);
    await page.getByText('Yes').click();
    for (const end = Date.now() + 15000; answers.length < 2 && Date.now() < end; ) await page.waitForTimeout(100);
    assert.deepEqual(answers.map(({ outcome, reason }) => [outcome, reason]), [['accepted', 'full'], ['accepted', 'full']]);
    assert.match(told.join('\n'), /sent/);
  } finally {
    await browser.close();
  }
});
