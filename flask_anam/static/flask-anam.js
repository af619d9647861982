/**
 * Browser helper of Flask-Anam: an ES module without dependencies or build step.
 *
 *   import { createPersona } from "/anam/static/flask-anam.js";
 *
 *   const persona = createPersona(document.querySelector("video"), { personaType: "support" });
 *   persona.addEventListener("state", (event) => console.log(event.detail.state));
 *   button.addEventListener("click", () => persona.start());
 *
 * flask-anam.d.ts describes every name. A CSRF token is sent as X-CSRFToken when the page has
 * <meta name="csrf-token" content="...">.
 */

import { fetchToken, reportEnded, reportStarted, tabSlot } from "./anam-token.js";

/** The official SDK that is loaded when the page brings none, and the hash of that file. */
export const SDK_URL = "https://cdn.jsdelivr.net/npm/@anam-ai/js-sdk@4.27.0/dist/umd/anam.js";
export const SDK_INTEGRITY =
  "sha384-YlLVEzjnPjezw7TzjG3RWqeUtTruSn3+WnfBBg9CyHOCpf0VqVorwHodrE7ZieF0";

export { AnamTokenError, fetchToken, reportEnded, reportStarted, tabSlot } from "./anam-token.js";

const OPTIONS = {
  tokenPath: "/api/session-token",
  urlPrefix: "/anam",
  microphone: true,
  maxWait: 120,
  maxReconnects: 3,
  startTimeout: 20,
};

/** What the codes of the SDK mean here; any other end of a connection is "connection_lost". */
const SDK_CODES = {
  AUTHENTICATION_ERROR: "token_refused",
  MAX_CONCURRENT_SESSIONS_REACHED: "capacity",
  NO_PLAN_FOUND: "anam_quota",
  SPEND_CAP_REACHED: "anam_quota",
  USAGE_LIMIT_REACHED: "anam_quota",
  VALIDATION_ERROR: "anam_rejected",
  CONFIGURATION_ERROR: "anam_rejected",
  SERVICE_BUSY: "anam_unavailable",
  SERVER_ERROR: "anam_unavailable",
  MICROPHONE_PERMISSION_DENIED: "microphone_denied",
  SERVER_CLOSED_CONNECTION: "closed_by_server",
};
/** After these the session may be gone, so another one is begun with another token. */
const LOST = new Set(["connection_lost", "start_timeout", "anam_unavailable"]);

/** Put a persona into a video element. Nothing happens before `start` or `prefetch`. */
export function createPersona(video, options = {}) {
  return new Persona(video, options);
}

class Persona extends EventTarget {
  state = "idle";
  code = null;
  muted = false;
  sessionId = null;
  #video;
  #options;
  #client = null;
  #run = null;
  #typed = null;
  #left = new AbortController();

  constructor(video, options) {
    super();
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    this.#options = { ...OPTIONS, slot: tabSlot(), ...Object.fromEntries(given) };
    this.#video = typeof video === "string" ? document.getElementById(video) : video;
    const { signal } = this.#left;
    addEventListener("pagehide", () => this.stop(), { signal });
    const { prefetch } = this.#options;
    if (prefetch === "idle") {
      (globalThis.requestIdleCallback ?? setTimeout)(() => signal.aborted || this.prefetch());
    } else if (prefetch) {
      for (const kind of ["pointerenter", "focusin"]) {
        prefetch.addEventListener(kind, () => this.prefetch(), { once: true, signal });
      }
    }
  }

  /** Begin, or do nothing when begun. Resolves with "live", "failed", "ended" or "idle". */
  start() {
    if (!this.#run && !this.#left.signal.aborted) {
      const run = (this.#run = new AbortController());
      run.done = new Promise((resolve) => (run.settle = resolve));
      this.#converse(run);
    }
    return this.#run?.done ?? Promise.resolve(this.state);
  }

  stop() {
    this.#end(this.#run, this.#run?.begun ? "ended" : this.state);
  }

  /** Stop for good: the object hears of nothing any more. */
  destroy() {
    this.#left.abort();
    this.stop();
  }

  mute(muted = true) {
    this.muted = muted;
    this.#client?.[muted ? "muteInputAudio" : "unmuteInputAudio"]();
  }

  /** Say something in writing; false when nobody is there to read it. */
  sendMessage(text) {
    const said = text.trim();
    if (this.state !== "live" || !said) {
      return false;
    }
    this.#client.sendUserMessage(said);
    this.#typed = said;
    const id = `typed-${Date.now()}`;
    this.#tell("message", { id, role: "user", text: said, final: true, interrupted: false });
    return true;
  }

  /** Get SDK and token before they are needed; whether there is a token now. */
  async prefetch() {
    try {
      await loadSdk(this.#options); // first, since a token without it would be wasted
      return !this.#run && Boolean(await hold(this.#options)[1]);
    } catch {
      return false; // told when somebody wants to talk
    }
  }

  async #converse(run) {
    const memory = { lost: 0, asked: 0, waited: 0 };
    try {
      await null; // a start that is stopped in the same tick costs nothing
      while (!run.signal.aborted) {
        run.begun = true;
        await this.#attempt(run, memory).catch((error) => this.#recover(run, memory, error));
      }
    } catch (error) {
      this.#end(run, error.code === "closed_by_server" ? "ended" : "failed", error);
    }
  }

  /** One token, one session; always rejects, at the latest when the session is over. */
  async #attempt(run, memory) {
    const options = this.#options;
    this.#set("connecting", memory.lost ? problem("connection_lost") : {});
    if (!globalThis.RTCPeerConnection) {
      throw problem("no_webrtc");
    }
    const sdk = await loadSdk(options);
    const token = memory.spare ?? (await takeToken(options, memory.refused, run.signal));
    run.signal.throwIfAborted();
    memory.spare = null;
    memory.token = token;
    let timer;
    try {
      await new Promise((_, reject) => {
        const late = () => reject(problem("start_timeout"));
        timer = setTimeout(late, options.startTimeout * 1000);
        run.signal.addEventListener("abort", () => reject(run.signal.reason));
        const client = this.#open(sdk, token, reject, () => {
          clearTimeout(timer);
          Object.assign(memory, { since: Date.now(), asked: 0, waited: 0, renewed: false });
          run.settle("live");
        });
        client.streamToVideoElement(this.#video.id).then(() => {
          if (client !== this.#client) {
            return client.stopStreaming(); // given up while the session was being opened
          }
        }, reject);
      });
    } catch (error) {
      throw explained(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #open(sdk, { sessionToken, tokenId }, close, ready) {
    const { apiBaseUrl, clientOptions, microphone, urlPrefix } = this.#options;
    const client = sdk.createClient(sessionToken, {
      disableInputAudio: !microphone,
      ...clientOptions,
      api: { ...(apiBaseUrl && { baseUrl: apiBaseUrl }), ...clientOptions?.api },
    });
    this.#video.id ||= `anam-${tokenId}`; // the SDK finds the element by its id
    this.#client = client;
    const on = (name, hear) =>
      client.addListener(sdk.AnamEvent[name], (...facts) => client === this.#client && hear(...facts));
    on("CONNECTION_CLOSED", (code, details) => close({ code, message: details }));
    on("MIC_PERMISSION_DENIED", () => this.#tell("error", facts(problem("microphone_denied"))));
    on("SESSION_READY", (id) => {
      if (this.sessionId) {
        return; // said again after a reconnection
      }
      this.sessionId = id ?? client.getActiveSessionId();
      reportStarted({ tokenId, sessionId: this.sessionId, urlPrefix });
      ready();
      this.mute(this.muted);
      this.#set("live");
    });
    const texts = new Map();
    on("MESSAGE_STREAM_EVENT_RECEIVED", ({ id, role, content, endOfSpeech, interrupted }) => {
      if (role === "user" && content.trim() === this.#typed) {
        this.#typed = null; // it has been told when it was sent
        return;
      }
      const text = (texts.get(id) ?? "") + content;
      texts.set(id, text);
      this.#tell("message", { id, role, text, final: endOfSpeech, interrupted: !!interrupted });
    });
    return client;
  }

  /** Return when it is worth another attempt, else throw. */
  async #recover(run, memory, error) {
    run.signal.throwIfAborted();
    this.#hangUp();
    const { code, retryAfter } = error;
    if (LOST.has(code) && memory.token) {
      if (memory.since && Date.now() - memory.since > 30_000) {
        memory.lost = 0;
      }
      memory.refused = memory.token.tokenId; // it has been shown to Anam, perhaps used up
      if (memory.lost++ < this.#options.maxReconnects) {
        return this.#wait(run, memory, backoff(memory.lost - 1), error);
      }
    } else if (code === "token_refused" && !memory.renewed) {
      memory.renewed = true;
      memory.refused = memory.token.tokenId;
      return;
    } else if (code === "capacity") {
      memory.spare = memory.token; // Anam refused the session, not the token
      error.estimate = await estimate(this.#options, run.signal);
      return this.#wait(run, memory, backoff(memory.asked++, error.estimate), error);
    } else if (error.retryable) {
      return this.#wait(run, memory, Math.max(retryAfter ?? 0, backoff(memory.asked++)), error);
    }
    throw error;
  }

  async #wait(run, memory, seconds, error) {
    memory.token = memory.since = null;
    memory.waited += seconds;
    if (memory.waited > this.#options.maxWait) {
      throw error;
    }
    this.#set("waiting", Object.assign(error, { retryAfter: seconds }));
    this.#tell("error", facts(error));
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      const online = error.code === "network" ? "online" : "abort";
      for (const [target, kind] of [[globalThis, online], [run.signal, "abort"]]) {
        target.addEventListener?.(kind, () => resolve(clearTimeout(timer)), { once: true });
      }
    });
  }

  #end(run, state, error) {
    if (!run || run !== this.#run) {
      return;
    }
    this.#run = null;
    run.abort();
    this.#hangUp();
    if (run.begun) {
      this.#set(state, error);
    }
    if (state === "failed") {
      this.#tell("error", { ...facts(error), fatal: true });
    }
    run.settle(state);
  }

  #hangUp() {
    const [client, sessionId] = [this.#client, this.sessionId];
    this.#client = this.sessionId = null;
    if (sessionId) {
      reportEnded({ sessionId, urlPrefix: this.#options.urlPrefix });
    }
    client?.stopStreaming().catch(() => {});
  }

  #set(state, error = {}) {
    Object.assign(this, { state, code: error.code ?? null });
    this.#tell("state", { state, ...facts(error), sessionId: this.sessionId });
  }

  #tell(kind, detail) {
    if (!this.#left.signal.aborted) {
      this.dispatchEvent(new CustomEvent(kind, { detail }));
    }
  }
}

const problem = (code) => Object.assign(new Error(code), { code });

const facts = ({ code = null, message = "", retryAfter = null, estimate = null, details = null }) => ({
  code,
  message,
  retryAfter,
  estimate,
  details,
  fatal: false,
});

/** Seconds before the next try: doubling, with jitter, or what was estimated up to 15 s. */
const backoff = (tries, estimated) =>
  Math.max(Math.min(estimated ?? 0, 15), Math.min(8, 2 ** tries) * (0.5 + Math.random() / 2));

/** Turn what the SDK says into one of our codes. */
function explained(error) {
  const [, name] = /^(?:CLIENT_ERROR|CONNECTION_CLOSED)_CODE_(.+)/.exec(error.code) ?? [];
  if (!name) {
    return error.code ? error : Object.assign(problem("sdk_error"), { message: error.message });
  }
  const refused = name === "SERVER_ERROR" && error.statusCode >= 400 && error.statusCode < 500;
  const found = problem(refused ? "anam_rejected" : (SDK_CODES[name] ?? "connection_lost"));
  return Object.assign(found, { message: error.message ?? "" });
}

async function estimate({ urlPrefix }, signal) {
  try {
    const headers = { Accept: "application/json" };
    const options = { headers, credentials: "include", cache: "no-store", signal };
    const seen = await (await fetch(`${urlPrefix}/concurrency`, options)).json();
    return seen.canStartSession ? null : (seen.estimatedWaitSeconds ?? null);
  } catch {
    return null;
  }
}

/** Tokens asked for and not yet used, by what they are for: shared by all personas of the page. */
const held = new Map();

function hold(options, refused) {
  const { tokenPath, personaType, slot, overrides } = options;
  const key = JSON.stringify([tokenPath, personaType, slot, overrides]);
  if (!held.has(key)) {
    const asked = fetchToken({ tokenPath, personaType, slot, overrides, refused }).then((token) => ({
      ...token,
      goodUntil: Date.now() + token.expiresIn * 900,
    }));
    held.set(key, asked);
    asked.catch(() => held.delete(key));
  }
  return [key, held.get(key)];
}

async function takeToken(options, refused, signal) {
  for (let round = 0; round < 3; round++) {
    const [key, asked] = hold(options, refused);
    const token = await asked;
    signal.throwIfAborted(); // it stays for the next start
    if (held.get(key) === asked) {
      held.delete(key);
      if (token.tokenId !== refused && token.goodUntil > Date.now()) {
        return token;
      }
    }
    refused = token.tokenId; // too old, or taken by another player of this page
  }
  throw problem("token_refused");
}

const scripts = new Map();

async function loadSdk({ sdk, sdkIntegrity }) {
  if (sdk && typeof sdk !== "string") {
    return typeof sdk === "function" ? sdk() : sdk;
  }
  if (!sdk && globalThis.anam?.createClient) {
    return globalThis.anam;
  }
  const url = sdk ?? SDK_URL;
  if (!scripts.has(url)) {
    scripts.set(url, loadScript(url, sdk ? sdkIntegrity : SDK_INTEGRITY));
  }
  return scripts.get(url).catch(() => {
    scripts.delete(url);
    throw problem("sdk_missing");
  });
}

function loadScript(src, integrity) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const nonce = document.querySelector("script[nonce]")?.nonce;
    Object.assign(script, { src, nonce: nonce ?? "" }, integrity && { integrity, crossOrigin: "anonymous" });
    script.onload = () => (globalThis.anam?.createClient ? resolve(globalThis.anam) : reject());
    script.onerror = reject;
    document.head.append(script);
  });
}
