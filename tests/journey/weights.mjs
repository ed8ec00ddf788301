// What each screen of screens.py weighs and how long it takes, from an empty cache over a slow line; JSON to stdout.

import { ROOT, launch, makeFirst } from './room.mjs';

const LINE = { offline: false, latency: 150, downloadThroughput: 1.6e6 / 8, uploadThroughput: 750e3 / 8 }; // slow 4G
const screens = JSON.parse(process.env.SCREENS);
const TRIES = 3;

const browser = await launch();
const weigh = async ({ path }, state) => {
  const found = [];
  for (let n = 0; n < TRIES; n++) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 850 }, storageState: state });
    const page = await context.newPage();
    const cdp = await context.newCDPSession(page);
    let bytes = 0;
    await cdp.send('Network.enable');
    await cdp.send('Network.emulateNetworkConditions', LINE);
    cdp.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
    await page.goto(ROOT + path);
    while (await page.locator('.waiting, .counting').count()) await page.waitForTimeout(50); // parts that come later
    const ready = await page.evaluate(() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd);
    found.push([bytes, ready]);
    await context.close();
  }
  return [Math.max(...found.map(([bytes]) => bytes)), found.map(([, ready]) => ready).sort((a, b) => a - b)[TRIES >> 1]];
};
try {
  const context = await browser.newContext();
  await makeFirst(await context.newPage());
  const state = await context.storageState();
  const rows = [];
  for (const screen of screens.filter(({ path }) => path !== '/first-run'))
    rows.push([screen.name, ...(await weigh(screen, screen.who ? state : undefined))]);
  console.log(JSON.stringify(rows));
} finally {
  await browser.close();
}
