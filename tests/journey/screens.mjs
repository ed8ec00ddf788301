// Takes the screenshots of screens.py: each screen × light and dark × desktop and phone.

import { join } from 'node:path';
import { ROOT, launch, makeFirst } from './room.mjs';

const SIZES = { desktop: { width: 1360, height: 850 }, phone: { width: 390, height: 844 } };
const screens = JSON.parse(process.env.SCREENS);

const browser = await launch();
const take = async (chosen, state) => {
  for (const [size, viewport] of Object.entries(SIZES))
    for (const colorScheme of ['light', 'dark']) {
      const context = await browser.newContext({
        viewport, colorScheme, deviceScaleFactor: size === 'phone' ? 2 : 1, storageState: state, reducedMotion: 'reduce',
      });
      const page = await context.newPage();
      page.on('console', (message) => message.type() === 'error' && console.error(`${page.url()}: ${message.text()}`));
      for (const { name, path, clicks } of chosen) {
        await page.goto(ROOT + path);
        if (await page.locator('tr[data-row]').count()) await page.locator('.live[data-state="on"]').waitFor();
        for (const selector of clicks) await page.locator(selector).first().click();
        while (await page.locator('.waiting, .counting').count()) await page.waitForTimeout(100); // parts that come later
        await page.screenshot({ path: join(process.env.INTO, `${name}-${size}-${colorScheme}.png`) });
      }
      await context.close();
    }
};
try {
  await take(screens.filter(({ path }) => path === '/first-run'));
  const context = await browser.newContext();
  await makeFirst(await context.newPage());
  await take(screens.filter(({ who, path }) => !who && path !== '/first-run'));
  await take(screens.filter(({ who }) => who), await context.storageState());
} finally {
  await browser.close();
}
