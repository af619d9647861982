/** HTTP client for our server. */

const SLOT_KEY = "flask-anam-slot";
let ownSlot;

export class AnamTokenError extends Error {
  name = "AnamTokenError";
  status = 0;
  retryable = false;
  retryAfter = null;
  details = null;

  constructor(message, fields) {
    super(message);
    Object.assign(this, fields);
  }
}

export function tabSlot() {
  return (ownSlot ??= takeSlot());
}

export async function fetchToken({
  personaType,
  slot = tabSlot(),
  tokenPath = "/api/session-token",
  overrides,
  refused,
  signal = AbortSignal.timeout(15_000),
} = {}) {
  const body = { personaType, slot: slot ?? undefined, overrides, refused };
  let response;
  let answer;
  try {
    response = await ask(tokenPath, { body, signal });
    answer = await response.json();
  } catch (error) {
    const timedOut = signal.reason?.name === "TimeoutError";
    if (timedOut || (!signal.aborted && !(error instanceof SyntaxError))) {
      const code = timedOut ? "timeout" : "network";
      throw new AnamTokenError("The server did not answer.", { code, retryable: true });
    }
    signal.throwIfAborted();
  }
  const { ok, status, headers } = response;
  if (ok && answer?.sessionToken) {
    return answer;
  }
  if (!answer?.code) {
    const fields = { code: "bad_answer", status, retryable: status >= 500 };
    throw new AnamTokenError("The answer did not come from a token endpoint.", fields);
  }
  const retryAfter = Number(headers.get("Retry-After")) || null;
  throw new AnamTokenError(answer.error, { retryAfter, ...answer, status });
}

export function reportStarted({ tokenId, sessionId, urlPrefix = "/anam" }) {
  return report(`${urlPrefix}/sessions`, { tokenId, sessionId });
}

export async function reportEnded({ sessionId, urlPrefix = "/anam" }) {
  const url = `${urlPrefix}/sessions/${encodeURIComponent(sessionId)}/end`;
  if (navigator.onLine === false) {
    await new Promise((resolve) => addEventListener("online", resolve, { once: true }));
  }
  // A beacon cannot send headers, so no CSRF token.
  return (!csrfToken(url) && navigator.sendBeacon?.(url)) || report(url, {});
}

export function ask(url, { body, ...options } = {}) {
  const csrf = csrfToken(url);
  return fetch(url, {
    method: body ? "POST" : "GET",
    headers: { "Content-Type": "application/json", ...(csrf && { "X-CSRFToken": csrf }) },
    body: JSON.stringify(body),
    credentials: "include",
    ...options,
  });
}

const report = (url, body) => ask(url, { body, keepalive: true }).then(({ ok }) => ok, () => false);

/** The CSRF token, for the origins of the page and of this module only. */
function csrfToken(url) {
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  const isOurs = (base) => new Request(url).url.startsWith(new URL("/", base));
  return token && [location, import.meta.url].some(isOurs) && token;
}

/** Stored only between two pages, because a duplicated tab gets a copy of the storage. */
function takeSlot() {
  try {
    const stored = sessionStorage.getItem(SLOT_KEY);
    const forget = () => sessionStorage.removeItem(SLOT_KEY);
    forget();
    addEventListener("pagehide", () => sessionStorage.setItem(SLOT_KEY, ownSlot));
    addEventListener("pageshow", forget);
    if (stored) {
      return stored;
    }
  } catch {
    // no access to the storage: the slot lasts as long as the page
  }
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
