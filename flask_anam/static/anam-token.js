/** Session tokens for the browser, and the reports on them; part of flask-anam.js. */

const SLOT_KEY = "flask-anam-slot";
const TOKEN_TIMEOUT_MS = 15_000;
let ownSlot;

/** No session token could be had: the facts of the endpoint's answer, or why there was none. */
export class AnamTokenError extends Error {
  constructor(message, { code, status = 0, retryable = false, retryAfter = null, details = null }) {
    super(message);
    Object.assign(this, { name: "AnamTokenError", code, status, retryable, retryAfter, details });
  }
}

/** The slot of this tab, also over reloads; sending it is the promise to report starts. */
export function tabSlot() {
  ownSlot ??= takeSlot();
  return ownSlot;
}

/** Ask for a session token; rejects with an AnamTokenError, or as the signal says. */
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
  const ends = signal ? (AbortSignal.any?.([signal, timeout]) ?? signal) : timeout;
  let response;
  let answer;
  try {
    response = await post(tokenPath, body, { signal: ends });
    answer = await response.json();
  } catch (error) {
    signal?.throwIfAborted();
    if (timeout.aborted) {
      throw new AnamTokenError("The server did not answer in time.", { code: "timeout", retryable: true });
    }
    if (!response || !(error instanceof SyntaxError)) {
      throw new AnamTokenError("The server could not be reached.", { code: "network", retryable: true });
    }
  }
  const { ok, status, headers } = response;
  if (ok && typeof answer?.sessionToken === "string") {
    return answer;
  }
  if (typeof answer?.code !== "string") {
    const facts = { code: "bad_answer", status, retryable: status >= 500 };
    throw new AnamTokenError("The answer was not that of a token endpoint.", facts);
  }
  const retryAfter = answer.retryAfter ?? (Number.parseInt(headers.get("Retry-After"), 10) || null);
  throw new AnamTokenError(answer.error, { ...answer, status, retryAfter });
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

/**
 * A page holds its slot alone: the entry is gone from the storage while the page lives. A tab that
 * is duplicated from it copies the storage, finds none, and takes a slot of its own.
 */
function takeSlot() {
  const store = (change) => {
    try {
      return change(sessionStorage);
    } catch {
      return null; // closed to this page: the slot then lives as long as the page
    }
  };
  const forget = () => store((storage) => storage.removeItem(SLOT_KEY));
  const known = store((storage) => storage.getItem(SLOT_KEY));
  forget();
  addEventListener("pagehide", () => store((storage) => storage.setItem(SLOT_KEY, ownSlot)));
  addEventListener("pageshow", forget);
  return (
    known ||
    Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
      byte.toString(16).padStart(2, "0"),
    ).join("")
  );
}
