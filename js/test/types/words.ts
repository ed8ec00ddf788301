/** The package's types, as a site's compiler sees them: what is right compiles, what is wrong does not. */

import { consent, load, page, set, setConsent, status, track } from '../../npm/index.js';

load('2612345678901', { collector: 'https://collect.shop.example', regime: 'opt_out', em: 'ann@shop.test' });
page();
page({ page_name: 'home', shade: 'red' }, (sent) => sent === true);
track('addtocart', { value: '59.90', currency: 'EUR', line_items: { product_id: 42 } });
track('configured', undefined, (sent, reason) => [sent, reason?.length]);
set({ em: null, external_id: 4711 });
setConsent(false);
consent('update', { ad_storage: 'granted', analytics_storage: 'granted', security_storage: 'granted' });
consent('default', { ad_storage: 'denied', region: ['DE', 'US-CA'], wait_for_update: 500 });
status(({ held, notes }) => [held + 1, notes[0].length]);

// @ts-expect-error the collector's URL is missing
load('2612345678901', {});
// @ts-expect-error no such regime
load('2612345678901', { collector: 'https://collect.shop.example', regime: 'optin' });
// @ts-expect-error a value is a number or its text
track('checkout', { value: {} });
// @ts-expect-error consent is a yes or a no
setConsent('perhaps');
// @ts-expect-error neither granted nor denied
consent('update', { ad_storage: true });
