/**
 * Persona client for browsers (flask-anam.js): an ES module without dependencies or build step.
 *
 *   import { createPersona } from "/anam/static/flask-anam.js";
 *
 *   const persona = createPersona(document.querySelector("video"), { personaType: "support" });
 *   persona.addEventListener("state", (event) => console.log(event.detail.state));
 *   button.addEventListener("click", () => persona.start());
 *
 * A CSRF token is sent as X-CSRFToken when the page has <meta name="csrf-token" content="...">.
 */

/** URL of the official SDK that is loaded unless the page provides one. */
export const SDK_URL: string;
/** Integrity hash of that file (Subresource Integrity). */
export const SDK_INTEGRITY: string;

/** The answer of the token endpoint. */
export interface SessionToken {
  sessionToken: string;
  /** Identifies the token in reports and logs; it cannot be used to start a session. */
  tokenId: string;
  personaType: string;
  /** Unix seconds. */
  expiresAt: number;
  /** Seconds, counted from the answer. */
  expiresIn: number;
}

export interface TokenOptions {
  /** The persona type; optional if there is a default persona. */
  personaType?: string;
  /** Identifies this tab, by default `tabSlot()`; null sends none. With a slot, report starts. */
  slot?: string | null;
  /** The token endpoint (`ANAM_TOKEN_PATH`), by default "/api/session-token". */
  tokenPath?: string;
  /** Persona fields to set; the persona must allow them. */
  overrides?: Record<string, unknown>;
  /** Token id of a token with which a session could not start. */
  refused?: string;
  /** Aborts the request, by default after 15 seconds; rejects with the reason of the abort. */
  signal?: AbortSignal;
}

/** Error: the token endpoint gave no session token. */
export class AnamTokenError extends Error {
  /** The endpoint's code; "network" without an answer, "timeout", or "bad_answer". */
  readonly code: string;
  /** The HTTP status, 0 without an answer. */
  readonly status: number;
  readonly retryable: boolean;
  /** Seconds, or null if the server gave none. */
  readonly retryAfter: number | null;
  readonly details: Record<string, unknown> | null;
}

/** Return the slot of this browser tab. It survives reloads; a duplicated tab gets a new slot. */
export function tabSlot(): string;

/**
 * Request a session token.
 * @throws {AnamTokenError} if the server gives none
 */
export function fetchToken(options?: TokenOptions): Promise<SessionToken>;

/**
 * Report to the server that a conversation has started, which uses up its token. Never rejects;
 * resolves with whether the server accepted the report.
 */
export function reportStarted(report: {
  tokenId: string;
  sessionId: string;
  urlPrefix?: string;
}): Promise<boolean>;

/**
 * Report to the server that a conversation has ended. Works while the page is being closed, and waits
 * until the browser is online. Never rejects; resolves with whether the report was sent.
 */
export function reportEnded(report: { sessionId: string; urlPrefix?: string }): Promise<boolean>;

/** The used part of the official SDK. */
export interface AnamSdk {
  createClient(sessionToken: string, options?: any): any;
  AnamEvent: any;
}

export interface PersonaOptions extends Omit<TokenOptions, "refused" | "signal"> {
  /** `ANAM_URL_PREFIX`, by default "/anam". */
  urlPrefix?: string;
  /** `ANAM_BASE_URL`, by default that of the SDK. */
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
  /** Whether to use the microphone, by default true. */
  microphone?: boolean;
  /** When to get a token in advance: on an idle page, or when pointer or focus reach an element. */
  prefetch?: "idle" | EventTarget | null;
  /** Seconds to wait in total for a free session, a limit or the server, by default 120. */
  maxWait?: number;
  /** Upper limit of reconnects in a row, by default 3. */
  maxReconnects?: number;
  /** Seconds until a session must be ready, by default 20. */
  startTimeout?: number;
}

/** State of a persona; "live" becomes "connecting" when the video is frozen for five seconds. */
export type PersonaState = "idle" | "connecting" | "live" | "waiting" | "ended" | "failed";

/** Problem details; all null or empty in a state without an error. */
export interface Problem {
  code: string | null;
  /** For developers and logs; `sentenceFor(code)` of anam-texts.js is for people. */
  message: string;
  /** Seconds until the next attempt, or until another attempt makes sense. */
  retryAfter: number | null;
  /** Anam's estimate of the seconds until a session is free. */
  estimate: number | null;
  details: Record<string, unknown> | null;
  /** Whether the attempt is over. */
  fatal: boolean;
}

export interface StateDetail extends Problem {
  state: PersonaState;
  sessionId: string | null;
}

export interface MessageDetail {
  id: string;
  role: "user" | "persona";
  /** The whole message so far. */
  text: string;
  final: boolean;
  interrupted: boolean;
}

export interface PersonaEventMap {
  state: CustomEvent<StateDetail>;
  message: CustomEvent<MessageDetail>;
  error: CustomEvent<Problem>;
}

/** Persona: one persona in one video element. */
export interface Persona extends EventTarget {
  readonly state: PersonaState;
  readonly code: string | null;
  readonly muted: boolean;
  readonly sessionId: string | null;
  /**
   * Start a conversation; does nothing if there is one. Never rejects; resolves with the state that
   * was reached: "live", "failed", "ended", or "idle" if it was stopped before it began.
   */
  start(): Promise<PersonaState>;
  /** End the conversation, or the attempt to start one. */
  stop(): void;
  /** Mute the microphone, or unmute it with false; also possible before the start. */
  mute(muted?: boolean): void;
  /** Send a text message; returns false if there is no conversation, or no text. */
  sendMessage(text: string): boolean;
  /**
   * Get SDK and token in advance. The server keeps the token and gives it to the same user at the
   * start; with `ANAM_TOKEN_REUSE = "never"` it cannot. Never rejects; resolves with whether there
   * is a token.
   */
  prefetch(): Promise<boolean>;
  /** Stop for good: no more events are dispatched. */
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

/**
 * Stop every persona of the page. For pages that log a user out without a reload: call it before,
 * so that the ends are still reported in the name of that user.
 */
export function forget(): void;

/** Create a persona for a video element, or for the id of one; nothing happens before `start`. */
export function createPersona(
  video: HTMLVideoElement | string,
  options?: PersonaOptions,
): Persona;
