/**
 * Browser helper of Flask-Anam: an ES module without dependencies or build step.
 *
 *   import { fetchToken, reportStarted, reportEnded } from "/anam/static/flask-anam.js";
 *
 *   const token = await fetchToken({ personaType: "support" });
 *   const client = anam.createClient(token.sessionToken);
 *   await client.streamToVideoElement("persona-video");
 *   const sessionId = client.getActiveSessionId();
 *   reportStarted({ tokenId: token.tokenId, sessionId });
 *   addEventListener("pagehide", () => reportEnded({ sessionId }));
 *
 * A CSRF token is sent as X-CSRFToken when the page has <meta name="csrf-token" content="...">.
 */

const SLOT_KEY = "flask-anam-slot";
const TOKEN_TIMEOUT_MS = 15_000;

let slotInMemory = null;

/**
 * No session token could be had.
 *
 * `code` is that of the endpoint's JSON answer; or "network" when no answer came, "timeout" when
 * it took too long, "bad_answer" when it was not the endpoint's. `status` is the HTTP status, 0
 * without an answer. `retryAfter` is in seconds, null when the server named none. `message` is
 * the server's sentence.
 */
export class AnamTokenError extends Error {
  constructor(message, { code, status = 0, retryable = false, retryAfter = null, details = null }) {
    super(message);
    this.name = "AnamTokenError";
    this.code = code;
    this.status = status;
    this.retryable = retryable;
    this.retryAfter = retryAfter;
    this.details = details;
  }
}

/**
 * The slot of this browser tab: a random name that lives as long as the tab, also over reloads.
 * Sending it is the promise to report starts with `reportStarted`.
 */
export function tabSlot() {
  slotInMemory ??= readSlot();
  return slotInMemory;
}

/**
 * Ask for a session token.
 *
 * @param {object} [options]
 * @param {string} [options.personaType] the persona; may be left out when there is one default
 * @param {string|null} [options.slot] null to send none
 * @param {string} [options.tokenPath] the token endpoint (ANAM_TOKEN_PATH)
 * @param {object} [options.overrides] persona fields, of those that the persona allows
 * @param {string} [options.refused] token id of a token that failed to start
 * @param {AbortSignal} [options.signal] ends the wait; the error is then the signal's own
 * @returns {Promise<{sessionToken: string, tokenId: string, personaType: string,
 *   expiresAt: number, expiresIn: number}>}
 * @throws {AnamTokenError}
 */
export async function fetchToken({
  personaType,
  slot = tabSlot(),
  tokenPath = "/api/session-token",
  overrides,
  refused,
  signal,
} = {}) {
  const body = { personaType, slot: slot ?? undefined, overrides, refused };
  const timeout = AbortSignal.timeout(TOKEN_TIMEOUT_MS);
  let response;
  let answer;
  try {
    response = await post(tokenPath, body, { signal: signal ? anyOf(signal, timeout) : timeout });
    answer = await response.json();
  } catch (error) {
    signal?.throwIfAborted();
    throw failure(error, response, timeout.aborted);
  }
  if (response.ok && typeof answer?.sessionToken === "string") {
    return answer;
  }
  throw refusal(response, answer);
}

/** Tell the server that a conversation has started, which uses its token up; never throws. */
export async function reportStarted({ tokenId, sessionId, urlPrefix = "/anam" }) {
  return delivered(post(`${urlPrefix}/sessions`, { tokenId, sessionId }, { keepalive: true }));
}

/**
 * Tell the server that a conversation is over; works while the page goes away, and never throws.
 */
export function reportEnded({ sessionId, urlPrefix = "/anam" }) {
  const url = `${urlPrefix}/sessions/${encodeURIComponent(sessionId)}/end`;
  // A beacon carries no headers of ours, and so no CSRF token.
  if (!csrfToken() && navigator.sendBeacon?.(url)) {
    return Promise.resolve(true);
  }
  return delivered(post(url, {}, { keepalive: true }));
}

function post(url, body, options) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  const csrf = csrfToken();
  if (csrf) {
    headers["X-CSRFToken"] = csrf;
  }
  return fetch(url, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    credentials: "include",
    cache: "no-store",
    ...options,
  });
}

function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}

async function delivered(request) {
  try {
    return (await request).ok;
  } catch {
    return false;
  }
}

function refusal(response, answer) {
  if (typeof answer?.code !== "string") {
    return failure(null, response, false);
  }
  const header = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new AnamTokenError(answer.error ?? "The request for a session token was refused.", {
    code: answer.code,
    status: response.status,
    retryable: answer.retryable === true,
    retryAfter: answer.retryAfter ?? (Number.isFinite(header) ? header : null),
    details: answer.details ?? null,
  });
}

function failure(error, response, timedOut) {
  if (timedOut) {
    return new AnamTokenError("The server did not answer in time.", {
      code: "timeout",
      retryable: true,
    });
  }
  if (response && (error === null || error instanceof SyntaxError)) {
    return new AnamTokenError("The answer was not that of a token endpoint.", {
      code: "bad_answer",
      status: response.status,
      retryable: response.status >= 500,
    });
  }
  return new AnamTokenError("The server could not be reached.", { code: "network", retryable: true });
}

function anyOf(...signals) {
  if (AbortSignal.any) {
    return AbortSignal.any(signals);
  }
  const both = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) {
      both.abort(signal.reason);
    }
    signal.addEventListener("abort", () => both.abort(signal.reason), { once: true });
  }
  return both.signal;
}

function readSlot() {
  const fresh = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
  try {
    const known = sessionStorage.getItem(SLOT_KEY);
    if (known) {
      return known;
    }
    sessionStorage.setItem(SLOT_KEY, fresh);
  } catch {
    // Storage is closed to this page: the slot then lives as long as the page.
  }
  return fresh;
}
