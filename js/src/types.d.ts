/** What the standard library's types do not know yet. */

interface Navigator {
  readonly globalPrivacyControl?: boolean;
  readonly doNotTrack: string | null;
}

interface Document {
  readonly prerendering?: boolean;
}

/** A command of the page and the Unix milliseconds at which it was given. */
type Command = [time: number, args: Iterable<any>];

interface Window {
  collect?: { (...args: any[]): void; queue: { push(command: Command): void } };
  dataLayer?: any;
  __tcfapi?: (command: string, version: number, callback: (data: any, success: boolean) => void) => void;
  __gpp?: (command: string, callback: (data: any, success: boolean) => void) => void;
}
