/** The tag's words, typed. docs/tag.md explains each. */

/** The collector's events; any other text is an event of the site's own. */
export type EventName =
  | 'pagevisit' | 'viewcategory' | 'search' | 'addtocart' | 'checkout' | 'watchvideo' | 'signup' | 'lead' | 'custom'
  | 'addpaymentinfo' | 'addtowishlist' | 'initiatecheckout' | 'subscribe' | 'viewcontent' | 'contact' | 'schedule'
  | 'findlocation' | 'customizeproduct' | 'submitapplication' | 'starttrial'
  | (string & {});

export interface LineItem {
  product_id?: string | number;
  product_name?: string;
  product_category?: string;
  product_brand?: string;
  product_variant?: string;
  /** Of one piece, in the event's currency. */
  product_price?: number | string;
  product_quantity?: number | string;
  [key: string]: unknown;
}

export interface EventData {
  /** In the currency; with line items, their total. */
  value?: number | string;
  /** ISO 4217, such as EUR. */
  currency?: string;
  /** Of a checkout: makes its id, so that the thank-you page counts once however often it is loaded. */
  order_id?: string | number;
  order_quantity?: number | string;
  promo_code?: string;
  property?: string;
  search_query?: string;
  video_title?: string;
  lead_type?: string;
  page_name?: string;
  line_items?: LineItem[] | LineItem;
  /** The event's own id, the same that the server sends with its copy. */
  event_id?: string | number;
  [key: string]: unknown;
}

export interface Identity {
  /** An e-mail address, or its SHA-256; leaves the page as a hash only. null forgets. */
  em?: string | null;
  /** A phone number with its country code, or its SHA-256; leaves the page as a hash only. */
  ph?: string | null;
  /** The site's own id of the person. */
  external_id?: string | number | null;
  /** Non-empty: limited data use, such as LDP. */
  opt_out_type?: string | null;
}

export interface LoadOptions extends Identity {
  /** The collector's URL, such as https://collect.shop.example */
  collector: string;
  /** What no signal at all means; opt_in unless it says otherwise. */
  regime?: 'opt_in' | 'opt_out';
  /** false: the tag does not count the pages of a single-page application; the site calls page itself. */
  spa?: boolean;
  /** The id in the IAB's global vendor list, where the consent platform lists the site as a vendor. */
  vendor?: number;
  /** The script's URL, where it is a pinned version, such as https://collect.shop.example/tag/0.1.0.js */
  script?: string;
  /** That version's hash, from docs/tag.md. */
  integrity?: string;
  /** Of the page's content security policy. */
  nonce?: string;
}

/** sent: whether the collector stored it; reason: its word for why (docs/outcomes.md). */
export type Callback = (sent: boolean, reason?: string) => void;

export type ConsentWord = 'granted' | 'denied';

export interface ConsentWords {
  ad_storage?: ConsentWord;
  ad_user_data?: ConsentWord;
  ad_personalization?: ConsentWord;
  /** Google's other words may come along, as a banner says all at once: they are about other things. */
  analytics_storage?: ConsentWord;
  functionality_storage?: ConsentWord;
  personalization_storage?: ConsentWord;
  security_storage?: ConsentWord;
  /** Of a default: for these regions only. The tag does not know where a visitor is: denials count, grants do not. */
  region?: string[];
  /** Milliseconds for which a default holds events back, until an update. */
  wait_for_update?: number;
}

export interface Status {
  /** The tags' ids, with spaces between. */
  tag: string;
  /** The present verdict. */
  consent: 'full' | 'limited' | 'hold' | 'drop';
  /** The signal behind it. */
  why: string;
  gpc: boolean;
  /** What the collector said of an opt-out: «honoured». */
  optout?: string;
  /** Events that wait for consent, and that wait for the collector. */
  held: number;
  queued: number;
  /** The last events' fates, in words. */
  notes: string[];
}

/** Loads the script, once a page, and names the tag. */
export function load(tag: string, options: LoadOptions): void;
/** A page visit. In single-page applications the tag counts the next ones by itself. */
export function page(data?: EventData, callback?: Callback): void;
export function track(event: EventName, data?: EventData, callback?: Callback): void;
/** Who the visitor is, from now on. */
export function set(identity: Identity): void;
/** The visitor's answer; false after true is a withdrawal. */
export function setConsent(granted: boolean): void;
/** The answer in Consent Mode's words. */
export function consent(action: 'default' | 'update', words: ConsentWords): void;
/** What the tag holds, has sent and why. */
export function status(callback: (status: Status) => void): void;
/** Explains on the console what happens to each event. */
export function debug(): void;
