/** The HTML of docs/tag.md does what it says: an example's first line names the events that it sends. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { after, before } from 'node:test';
import { DOCUMENT } from '../../tables.js';
import { openStage } from './stage.js';

/** @type {Awaited<ReturnType<typeof openStage>>} */
let stage;
before(async () => (stage = await openStage()));
after(() => stage.close());

const EXAMPLES = [...readFileSync(DOCUMENT, 'utf8').matchAll(/^## (.*)$|^### (.*)$|^```html sends=(\S+)( consent=yes)?\n([^]*?)^```$/gm)];

let title = '';
for (const [, chapter, section, sends, answer, html] of EXAMPLES) {
  if (!sends) title = chapter || section;
  else
    test(`${title}: sends ${sends}`, async () => {
      const page = await stage.visit('next.html');
      stage.own['example.html'] = { body: '<!doctype html><title>Shop</title>' + html.replaceAll('https://collect.shop.example', stage.collectorUrl) };
      await page.goto(stage.shopUrl + '/example.html');
      for (const button of await page.locator('button[onclick]').all()) await button.click();
      if (answer) {
        await page.waitForTimeout(200);
        assert.deepEqual(stage.events(), []);
        await page.click('#yes');
      }
      const names = sends.split(',');
      await stage.eventsOf(names.length);
      assert.deepEqual(stage.events().map(({ event }) => event.toLowerCase()).sort(), names.sort());
      assert.deepEqual(page.errors, []);
    });
}
