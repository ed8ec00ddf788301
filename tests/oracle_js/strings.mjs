/**
 * Random consent strings by the IAB's own encoders, with what their own decoders read in them, as one JSON object.
 * Usage: node strings.mjs SEED
 */
import { GVL, PurposeRestriction, Segment, TCModel, TCString } from '@iabtechlabtcf/core';
import { GppModel, Sections } from '@iabgpp/cmpapi';

const TCF_STRINGS = 2200;
const FLIPS = 10_000;
const GPP_STRINGS = 1000;

let state = Number(process.argv[2] ?? 1) >>> 0 || 1;
/** A whole number below n, repeatable by the seed: the xorshift of Marsaglia. */
const below = (n) => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
};
const chance = (percent) => below(100) < percent;
const some = (from, to, percent) => {
  const found = [];
  for (let n = from; n <= to; n++) if (chance(percent)) found.push(n);
  return found;
};

const PURPOSES = 11;
const LAST_VENDOR = 900;
const vendors = {};
for (const id of some(1, LAST_VENDOR, 90))
  vendors[id] = {
    id, name: `v${id}`, purposes: [1, 3, 5, 7], legIntPurposes: [2, 4, 9, 10], flexiblePurposes: [2, 3, 5, 7, 9],
    specialPurposes: [], features: [], specialFeatures: [], policyUrl: '', cookieMaxAgeSeconds: 0, usesCookies: true,
    cookieRefresh: false, usesNonCookieAccess: false, deviceStorageDisclosureUrl: '',
  };
const known = Object.keys(vendors).map(Number);
const numbered = (count) => Object.fromEntries(Array.from({ length: count }, (_, n) => [n + 1, { id: n + 1, name: '', description: '' }]));
const gvl = new GVL({
  gvlSpecificationVersion: 3, vendorListVersion: 120, tcfPolicyVersion: 5, lastUpdated: '2026-01-01T00:00:00Z',
  purposes: numbered(PURPOSES), specialPurposes: numbered(2), features: numbered(3), specialFeatures: numbered(2),
  stacks: {}, dataCategories: numbered(3), vendors,
});

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const DAY = 86_400_000;
const FROM = Date.UTC(2025, 0, 1);

const modelled = () => {
  const model = new TCModel(gvl);
  model.cmpId = 2 + below(4000);
  model.cmpVersion = below(100);
  model.consentScreen = below(64);
  model.publisherCountryCode = ['DE', 'FR', 'AA', 'ZZ'][below(4)];
  model.isServiceSpecific = chance(80);
  model.useNonStandardTexts = chance(50);
  model.purposeOneTreatment = chance(20);
  model.created = new Date(FROM + below(1096) * DAY + (chance(20) ? below(864_000) * 100 : 0));
  model.lastUpdated = chance(80) ? model.created : new Date(model.created.getTime() + below(100) * DAY);
  model.purposeConsents.set(some(1, PURPOSES, chance(30) ? 95 : 60));
  model.purposeLegitimateInterests.set(some(2, PURPOSES, 50));
  model.specialFeatureOptins.set(some(1, 2, 50));
  const density = [0, 2, 50, 97][below(4)];
  model.vendorConsents.set(known.filter(() => chance(density)));
  model.vendorLegitimateInterests.set(known.filter(() => chance([0, 1, 60][below(3)])));
  const shown = [3, 80, 100][below(3)];
  model.vendorsDisclosed.set(known.filter(() => chance(shown)));
  model.vendorsAllowed.set(known.filter(() => chance(30)));
  model.publisherConsents.set(some(1, PURPOSES, chance(40) ? 95 : 60));
  model.publisherLegitimateInterests.set(some(1, PURPOSES, 50));
  model.numCustomPurposes = chance(50) ? 0 : below(20);
  model.publisherCustomConsents.set(some(1, model.numCustomPurposes, 50));
  if (chance(40))
    for (let n = below(8); n >= 0; n--) {
      const restriction = new PurposeRestriction(1 + below(PURPOSES), below(3));
      const share = [1, 20, 100][below(3)];
      for (const id of known) if (chance(share)) model.publisherRestrictions.add(id, restriction);
    }
  return model;
};

/** What the oracle reads: who agreed to what. Times are Unix milliseconds. */
const reading = (text, vendor) => {
  const model = TCString.decode(text);
  const types = text.split('.').slice(1).map((segment) => ALPHABET.indexOf(segment[0]) >> 3);
  const disclosed = types.includes(1);
  const restricted = model.publisherRestrictions
    .getRestrictions(vendor)
    .filter((restriction) => restriction.restrictionType !== 1)
    .map((restriction) => restriction.purposeId);
  const chosen = model.vendorConsents.has(vendor) && (!disclosed || model.vendorsDisclosed.has(vendor));
  const all = Array.from({ length: 24 }, (_, n) => n + 1);
  const earlier = Math.min(model.created, model.lastUpdated);
  return {
    version: model.version,
    policy: Number(model.policyVersion),
    created: model.created.getTime(),
    since: Math.max(model.created, model.lastUpdated),
    until: new Date(earlier).setUTCMonth(new Date(earlier).getUTCMonth() + 13),
    disclosed,
    publisher: types.includes(3) ? all.filter((purpose) => model.publisherConsents.has(purpose)) : [],
    vendor: chosen ? all.filter((purpose) => model.purposeConsents.has(purpose) && !restricted.includes(purpose)) : [],
  };
};

const tcf = [];
while (tcf.length < TCF_STRINGS) {
  const model = modelled();
  const segments = [Segment.VENDORS_DISCLOSED, Segment.PUBLISHER_TC, Segment.VENDORS_ALLOWED];
  const kept = segments.filter((_, n) => chance([85, 85, 15][n])).sort(() => below(2) * 2 - 1);
  const encoded = TCString.encode(model, { segments: [Segment.CORE, ...kept] });
  // The policy's version is the 23rd character, and the encoder always writes the vendor list's.
  const text = encoded.slice(0, 22) + ALPHABET[chance(95) ? 4 + below(2) : 2 + below(2)] + encoded.slice(23);
  const vendor = chance(80) ? known[below(known.length)] : 1 + below(LAST_VENDOR + 50);
  tcf.push({ text, vendor, reads: reading(text, vendor) });
}

const flipped = (text) => {
  const at = below(text.length);
  const old = text[at];
  const byte = old === '.' || chance(10); // then a bit of the character itself, else one of the string that it carries
  const now = byte ? String.fromCharCode(old.charCodeAt(0) ^ (1 << below(7))) : ALPHABET[ALPHABET.indexOf(old) ^ (1 << below(6))];
  return text.slice(0, at) + now + text.slice(at + 1);
};
// Short ones, so that many flips meet a field and not one of a thousand vendors.
const short = tcf.filter(({ text }) => text.length < 400);
const flips = Array.from({ length: FLIPS }, () => {
  const { text, vendor } = short[below(short.length)];
  const broken = flipped(text);
  try {
    return { text: broken, vendor, reads: reading(broken, vendor) };
  } catch {
    return { text: broken, vendor, reads: null };
  }
});

const US = [...Sections.SECTION_ID_NAME_MAP].filter(([id]) => id >= 6);
const two = (value) => (Array.isArray(value) ? value.map(() => below(3)) : below(3));
const gpp = Array.from({ length: GPP_STRINGS }, () => {
  const model = new GppModel();
  for (const [, name] of US) {
    if (!chance(20)) continue;
    if (name === 'uspv1') {
      for (const field of ['Notice', 'OptOutSale', 'LspaCovered']) model.setFieldValue(name, field, 'YN-'[below(3)]);
      continue;
    }
    model.setFieldValue(name, 'MspaCoveredTransaction', 1 + below(2)); // also makes the section
    for (const [field, value] of Object.entries(sectionOf(model, name)))
      if (/OptOut$|^KnownChild|Notice$|^SensitiveDataProcessing$/.test(field) && chance(50)) model.setFieldValue(name, field, two(value));
    if (model.hasField(name, 'Gpc')) {
      model.setFieldValue(name, 'GpcSegmentIncluded', chance(50));
      model.setFieldValue(name, 'Gpc', chance(50));
    }
  }
  const text = model.encode();
  const decoded = new GppModel(text);
  return {
    text,
    reads: Object.fromEntries(decoded.getSectionIds().map((id) => [id, decoded.getSection(Sections.SECTION_ID_NAME_MAP.get(id))])),
  };
});

function sectionOf(model, name) {
  const section = model.getSection(name);
  return section.Version === undefined && Array.isArray(section) ? Object.assign({}, ...section) : section;
}

process.stdout.write(JSON.stringify({ tcf, flips, gpp }));
