/**
 * flask-anam.js, the browser helper of Flask-Anam: an ES module without dependencies or build step.
 *
 *   import { createPersona } from "/anam/static/flask-anam.js";
 *
 *   const persona = createPersona(document.querySelector("video"), { personaType: "support" });
 *   persona.addEventListener("state", (event) => console.log(event.detail.state));
 *   button.addEventListener("click", () => persona.start());
 *
 * A CSRF token is sent as X-CSRFToken when the page has <meta name="csrf-token" content="...">.
 */

/** The official SDK that is loaded when the page brings none. */
export const SDK_URL: string;
/** The hash of that file, as a browser checks it. */
export const SDK_INTEGRITY: string;

/** What the token endpoint answers. */
export interface SessionToken {
  sessionToken: string;
  /** Names the token in reports and logs, and cannot be used in its place. */
  tokenId: string;
  personaType: string;
  /** Unix seconds. */
  expiresAt: number;
  /** Seconds from the answer on. */
  expiresIn: number;
}

export interface TokenOptions {
  /** The persona; may be left out when there is one default. */
  personaType?: string;
  /** This tab, by default `tabSlot()`; null sends none. Sending it is the promise to report. */
  slot?: string | null;
  /** The token endpoint (`ANAM_TOKEN_PATH`), by default "/api/session-token". */
  tokenPath?: string;
  /** Persona fields, of those that the persona allows. */
  overrides?: Record<string, unknown>;
  /** Token id of a token that failed to start. */
  refused?: string;
  /** Ends the wait, by default after 15 seconds; an abort's reason is then the error. */
  signal?: AbortSignal;
}

/** No session token could be had. */
export class AnamTokenError extends Error {
  /** The endpoint's code; "network" without an answer, "timeout", or "bad_answer". */
  readonly code: string;
  /** The HTTP status, 0 without an answer. */
  readonly status: number;
  readonly retryable: boolean;
  /** Seconds, or null when the server named none. */
  readonly retryAfter: number | null;
  readonly details: Record<string, unknown> | null;
}

/** The slot of this browser tab; lives over reloads, and a duplicated tab gets another one. */
export function tabSlot(): string;

/**
 * Ask for a session token.
 * @throws {AnamTokenError} there is none to be had
 */
export function fetchToken(options?: TokenOptions): Promise<SessionToken>;

/**
 * Tell the server that a conversation has started, which uses its token up. Never rejects; resolves
 * with whether the server heard.
 */
export function reportStarted(report: {
  tokenId: string;
  sessionId: string;
  urlPrefix?: string;
}): Promise<boolean>;

/**
 * Tell the server that a conversation is over. Works while the page goes away, waits until the browser
 * is online, and never rejects; resolves with whether the report went out.
 */
export function reportEnded(report: { sessionId: string; urlPrefix?: string }): Promise<boolean>;

/** The part of the official SDK that is used. */
export interface AnamSdk {
  createClient(sessionToken: string, options?: any): any;
  AnamEvent: any;
}

export interface PersonaOptions extends Omit<TokenOptions, "refused" | "signal"> {
  /** `ANAM_URL_PREFIX`, by default "/anam". */
  urlPrefix?: string;
  /** `ANAM_BASE_URL`, by default the SDK's own. */
  apiBaseUrl?: string;
  /**
   * The official SDK: the URL of its UMD file, its module, or a function that imports it. By
   * default the global `anam` when the page has loaded it, else `SDK_URL`.
   */
  sdk?: string | AnamSdk | (() => AnamSdk | Promise<AnamSdk>);
  /** The hash of the file at the URL in `sdk`. */
  sdkIntegrity?: string;
  /** Further options for the SDK's `createClient`. */
  clientOptions?: Record<string, unknown>;
  /** Whether to listen, by default true. */
  microphone?: boolean;
  /** When to get a token in advance: when idle, or when pointer or focus reach an element. */
  prefetch?: "idle" | EventTarget | null;
  /** Seconds to wait for a place, a limit or the server in all, by default 120. */
  maxWait?: number;
  /** Lost connections in a row after which to give up, by default 3. */
  maxReconnects?: number;
  /** Seconds in which a session has to become ready, by default 20. */
  startTimeout?: number;
}

/** "connecting" is also where a conversation is whose picture has stood still for five seconds. */
export type PersonaState = "idle" | "connecting" | "live" | "waiting" | "ended" | "failed";

/** What went wrong; all null or empty in a state that is nobody's fault. */
export interface Problem {
  code: string | null;
  /** For developers and logs; `sentenceFor(code)` of anam-texts.js is for people. */
  message: string;
  /** Seconds until the next try, or until it makes sense to try again. */
  retryAfter: number | null;
  /** Seconds until a place should be free, as Anam estimates. */
  estimate: number | null;
  details: Record<string, unknown> | null;
  /** Whether this was the end of the attempt. */
  fatal: boolean;
}

export interface StateDetail extends Problem {
  state: PersonaState;
  sessionId: string | null;
}

export interface MessageDetail {
  id: string;
  role: "user" | "persona";
  /** All of the message so far. */
  text: string;
  final: boolean;
  interrupted: boolean;
}

export interface PersonaEventMap {
  state: CustomEvent<StateDetail>;
  message: CustomEvent<MessageDetail>;
  error: CustomEvent<Problem>;
}

/** One persona in one video element. */
export interface Persona extends EventTarget {
  readonly state: PersonaState;
  readonly code: string | null;
  readonly muted: boolean;
  readonly sessionId: string | null;
  /**
   * Begin, or do nothing when begun. Never rejects; resolves with the state it came to: "live",
   * "failed", "ended", or "idle" when it was stopped before it began.
   */
  start(): Promise<PersonaState>;
  /** End the conversation, or the attempt to begin one. */
  stop(): void;
  /** Turn the microphone off, or on with false; before the start too. */
  mute(muted?: boolean): void;
  /** Say something in writing; false when there is no conversation, or no text. */
  sendMessage(text: string): boolean;
  /** Get SDK and token in advance; resolves with whether there is a token now, never rejects. */
  prefetch(): Promise<boolean>;
  /** Stop for good: no more events. */
  destroy(): void;
  addEventListener<K extends keyof PersonaEventMap>(
    type: K,
    listener: (event: PersonaEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** Put a persona into a video element, given itself or by its id; nothing happens before `start`. */
export function createPersona(
  video: HTMLVideoElement | string,
  options?: PersonaOptions,
): Persona;
