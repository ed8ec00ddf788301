// From the first run to an exported abandoned-cart audience of a real shop, as a person would; what is seen goes to FOUND.

import { readFileSync, writeFileSync } from 'node:fs';
import { enter, launch, makeFirst } from './room.mjs';

const { SHOP, FOUND, SHOTS } = process.env;
const browser = await launch();
try {
  const { page, wrong } = await enter(browser);
  const number = async (locator) => Number((await locator.innerText()).replaceAll(',', ''));
  const shoot = (name) => SHOTS && page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });

  const began = Date.now();
  await makeFirst(page);
  await page.waitForURL('**/audiences');
  await page.getByRole('link', { name: 'New audience' }).click();
  await page.getByRole('link', { name: /Abandoned cart/ }).click();
  await page.locator('#tag').selectOption(SHOP);
  await page.waitForURL(new RegExp(`tag=${SHOP}`));
  await page.locator('#builder.counted:not(.counting)').waitFor();
  const preview = await number(page.locator('#size'));
  await shoot('merchstore-builder');
  await page.getByRole('button', { name: 'Make the audience' }).click();
  await page.getByRole('heading', { name: 'Abandoned cart' }).waitFor();
  await page.locator('.facts[data-status="READY"]').waitFor({ timeout: 60000 });
  await page.locator('#curve canvas').waitFor({ timeout: 60000 });
  const { curve, at } = await page.locator('#curve').evaluate(({ dataset }) => ({ curve: JSON.parse(dataset.curve), at: Number(dataset.at) }));
  const size = await number(page.locator('[data-part="size"]'));
  await page.getByText('Export', { exact: true }).click();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Visitor ids' }).click()]);
  const [, ...members] = readFileSync(await file.path(), 'utf8').split('\r\n').slice(0, -1);
  const until = Math.floor(Date.now() / 1000);
  console.log(`first run to file: ${(Date.now() - began) / 1000} s`);
  while (await page.locator('.waiting').count()) await page.locator('.waiting').first().waitFor({ state: 'detached', timeout: 60000 });
  console.log(`all of the page: ${(Date.now() - began) / 1000} s`);
  await shoot('merchstore-audience');
  if (wrong.length) throw new Error(wrong.join('\n'));
  writeFileSync(FOUND, JSON.stringify({ began: Math.floor(began / 1000), preview, size, curve, at, until, members }));
} finally {
  await browser.close();
}
