import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { openChoice, strictest } from '../../src/choice.js';
import { decide } from '../../src/consent.js';
import { GppModel, Sections } from '@iabgpp/cmpapi';
import { TCString } from '@iabtechlabtcf/core';

const NAMES = ['full', 'limited', 'hold', 'drop']; // by the numbers that src/consent.js gives them
const VECTORS = new URL('../../../tests/vectors/consent.json', import.meta.url);

const words = (ad_storage, ad_user_data, ad_personalization) => ({ ad_storage, ad_user_data, ad_personalization });
const verdict = (consent, regime, signals = {}) => {
  const voices = [openChoice(), openChoice()];
  const { setconsent, opt_out_type, ...words } = consent;
  const word = { true: 'granted', false: 'denied' }[setconsent];
  voices[0].heed('update', words, 0);
  if (word) voices[1].heed('update', { ad_storage: word, ad_user_data: word, ad_personalization: word }, 0);
  const { waiting = false, tcf, gpp, vendor, ...rest } = signals;
  const said = { ...strictest(voices.map((voice) => voice.words)), gpc: false, dnt: false, opt_out_type, ...rest };
  return NAMES[decide(said, waiting, { tcf, gpp }, regime, vendor)[0]];
};

const YES = words('granted', 'granted', 'granted');
const NO = words('denied', 'denied', 'denied');

// From docs/consent.md by hand: consent, browser signals, opt_in, opt_out.
const TABLE = [
  ['silence is the regime’s', {}, {}, 'hold', 'full'],
  ['three grants are full', YES, {}, 'full', 'full'],
  ['a denied use limits', words('granted', 'denied', 'granted'), {}, 'limited', 'limited'],
  ['the other denied use limits', words('granted', 'granted', 'denied'), {}, 'limited', 'limited'],
  ['an absent use is a denied one', { ad_storage: 'granted' }, {}, 'limited', 'limited'],
  ['denied storage drops', words('denied', 'granted', 'granted'), {}, 'drop', 'drop'],
  ['absent storage is denied storage', { ad_user_data: 'granted' }, {}, 'drop', 'drop'],
  ['a malformed word is never a yes', words('granted', 'granted', 'yes'), {}, 'drop', 'limited'],
  ['malformed storage is never a yes', words('GRANTED', 'granted', 'granted'), {}, 'drop', 'limited'],
  ['an empty word is never a yes', words('granted', '', 'granted'), {}, 'drop', 'limited'],
  ['a truth value is no word', words(true, true, true), {}, 'drop', 'limited'],
  ['denied storage beats a malformed word', words('denied', 'x', 'x'), {}, 'drop', 'drop'],
  ['GPC is no permission', {}, { gpc: true }, 'hold', 'limited'],
  ['GPC beats a grant', YES, { gpc: true }, 'limited', 'limited'],
  ['GPC does not soften a refusal', NO, { gpc: true }, 'drop', 'drop'],
  ['DNT without a word', {}, { dnt: true }, 'drop', 'limited'],
  ['an explicit grant beats DNT under opt_in', YES, { dnt: true }, 'full', 'limited'],
  ['GPC and DNT without a word', {}, { gpc: true, dnt: true }, 'drop', 'limited'],
];

for (const [name, consent, signals, optIn, optOut] of TABLE)
  test(name, () => {
    assert.equal(verdict(consent, 'opt_in', signals), optIn);
    assert.equal(verdict(consent, 'opt_out', signals), optOut);
  });

test('a section that applies and that the platform does not know is malformed', () => {
  const usnat = { supportedAPIs: ['7:usnat'], parsedSections: { usnat: { SaleOptOut: 2 } } };
  for (const gpp of [
    { ...usnat, applicableSections: [7, 5] },
    { ...usnat, applicableSections: [5, 7] },
    { ...usnat, applicableSections: [7], supportedAPIs: [] },
    { ...usnat, applicableSections: [7], parsedSections: {} },
  ]) {
    assert.equal(verdict(YES, 'opt_in', { gpp }), 'drop', JSON.stringify(gpp));
    assert.equal(verdict(YES, 'opt_out', { gpp }), 'limited', JSON.stringify(gpp));
  }
  assert.equal(verdict(YES, 'opt_in', { gpp: { ...usnat, applicableSections: [7] } }), 'full');
});

test('an answer of a platform that lacks what it should have is malformed', () => {
  for (const gpp of [{}, { applicableSections: [7], parsedSections: { usnat: [{}] } }, { applicableSections: [0] }]) {
    assert.equal(verdict(YES, 'opt_in', { gpp }), 'drop', JSON.stringify(gpp));
    assert.equal(verdict(YES, 'opt_out', { gpp }), 'limited', JSON.stringify(gpp));
  }
  const tcf = { gdprApplies: true, tcString: 'C' };
  assert.equal(verdict(YES, 'opt_in', { tcf, vendor: 755 }), 'drop');
});

test('an unknown regime is the strict one', () => {
  for (const regime of [undefined, 'OPT_OUT', '']) assert.equal(verdict({}, regime), 'hold');
});

test('what the page says while it waits is held, whatever it is', () => {
  for (const said of [{}, YES, NO])
    for (const regime of ['opt_in', 'opt_out']) assert.equal(verdict(said, regime, { waiting: true }), 'hold');
});

test('no signal ever loosens a verdict', () => {
  const values = [undefined, 'granted', 'denied', 'x'];
  for (const regime of ['opt_in', 'opt_out'])
    for (const a of values)
      for (const b of values)
        for (const c of values)
          for (const dnt of [false, true]) {
            const rank = (signals) => NAMES.indexOf(verdict(words(a, b, c), regime, signals));
            assert.ok(rank({ dnt, gpc: true }) >= rank({ dnt, gpc: false }));
            assert.ok(rank({ dnt: true }) >= rank({ dnt: false }));
            if ([a, b, c].includes('x')) assert.notEqual(rank({ dnt }), 0);
          }
});

/** A vector applies where the tag can see all of its signals, and in the types in which it sees them. */
const KNOWN = {
  ad_storage: 'any', ad_user_data: 'any', ad_personalization: 'any', setconsent: 'boolean', gpc: 'boolean', dnt: 'boolean',
  opt_out_type: 'string', gdpr: 'boolean', tcf: 'string', gpp: 'string', gpp_sid: 'object', // as platforms give it: a list
};
const applies = ({ promise, expect, consent = {}, headers = {}, now, tcf_vendor_id, ...more }) =>
  Object.keys(more).length === 0 &&
  consent?.constructor === Object &&
  Object.entries(consent).every(([key, value]) => KNOWN[key] === 'any' || KNOWN[key] === typeof value) &&
  Object.keys(headers).every((key) => ['sec-gpc', 'dnt'].includes(key));

/** What `__tcfapi` would tell of a string: decoded by the IAB's own library. */
const tcData = ({ gdpr = true, tcf = '' }) => {
  const told = { gdprApplies: gdpr, tcString: tcf, eventStatus: 'tcloaded' };
  if (!tcf) return told;
  const model = TCString.decode(tcf);
  const flags = (vector) => Object.fromEntries([...vector].filter(([, on]) => on));
  const restrictions = {};
  for (const each of model.publisherRestrictions.getRestrictions())
    for (const id of model.publisherRestrictions.getVendors(each))
      (restrictions[each.purposeId] ||= {})[id] = each.restrictionType;
  return {
    ...told,
    purpose: { consents: flags(model.purposeConsents) },
    vendor: {
      consents: flags(model.vendorConsents),
      ...(model.vendorsDisclosed.size && { disclosedVendors: flags(model.vendorsDisclosed) }),
    },
    publisher: { consents: flags(model.publisherConsents), restrictions },
  };
};

/** What `__gpp` would tell, likewise. */
const pingData = ({ gpp, gpp_sid }) => ({
  signalStatus: 'ready',
  gppString: gpp,
  applicableSections: gpp_sid,
  supportedAPIs: [...Sections.SECTION_ID_NAME_MAP].map((section) => section.join(':')),
  parsedSections: gpp ? new GppModel(gpp).toObject() : {},
});

test('the tag and the edge agree', () => {
  const rows = JSON.parse(readFileSync(VECTORS, 'utf8')).filter(applies);
  const skipped = [];
  let agreed = 0;
  for (const { promise, consent = {}, headers = {}, tcf_vendor_id: vendor, expect } of rows) {
    const { gdpr, tcf, gpp, gpp_sid, ...said } = consent;
    const signals = { vendor };
    try {
      if (tcf !== undefined || gdpr !== undefined) signals.tcf = tcData(consent);
      if (gpp !== undefined || gpp_sid !== undefined) signals.gpp = pingData(consent);
      // A platform with a TCF section speaks by `__tcfapi` too, and there the tag listens.
      if (gpp && gpp_sid?.includes(2) && signals.gpp.parsedSections.tcfeuv2)
        signals.tcf = tcData({ tcf: gpp.split('~').find((text) => text.startsWith('CQ')) });
    } catch {
      skipped.push(promise); // no platform has decoded it: the edge alone judges such strings
      continue;
    }
    // What is wrong with a string as such, too old or too long, no platform tells either.
    if (gpp?.length > 8192 || (tcf && expect.opt_in.reason === 'consent_malformed' ))
      continue;
    for (const [regime, { verdict: edge }] of Object.entries(expect)) {
      const gpc = consent.gpc === true || headers['sec-gpc'] === '1';
      const dnt = consent.dnt === true || headers.dnt === '1';
      const tag = verdict(said, regime, { ...signals, gpc, dnt });
      // What the tag holds never arrives, and a withdrawal is no event's: both are a drop to the edge.
      assert.equal(tag === 'hold' ? 'drop' : tag, edge === 'withdrawal' ? 'drop' : edge, `${promise}, ${regime}`);
      agreed += 1;
    }
  }
  assert.ok(agreed >= 150, `only ${agreed} rows apply to the tag; skipped: ${skipped}`);
});
