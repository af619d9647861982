/** Puts personas on a page; flask-anam.d.ts describes it. */

import { ask, fetchToken, reportEnded, reportStarted, tabSlot } from "./anam-token.js";

export { AnamTokenError, fetchToken, reportEnded, reportStarted, tabSlot } from "./anam-token.js";

export const SDK_URL = "https://cdn.jsdelivr.net/npm/@anam-ai/js-sdk@4.27.0/dist/umd/anam.js";
export const SDK_INTEGRITY =
  "sha384-YlLVEzjnPjezw7TzjG3RWqeUtTruSn3+WnfBBg9CyHOCpf0VqVorwHodrE7ZieF0";

/** The SDK's codes in our words; any other is "connection_lost". */
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
/** After these another session is begun, with another token. */
const LOST = new Set(["connection_lost", "start_timeout", "anam_unavailable"]);

export const createPersona = (video, options = {}) => new Persona(video, options);

class Persona extends EventTarget {
  state = "idle";
  code = null;
  muted = false;
  sessionId = null;
  #video;
  #options;
  #client = null;
  #run = null;
  #typed = new Set();
  #left = new AbortController();

  constructor(
    video,
    { prefetch, slot = tabSlot(), maxWait = 120, maxReconnects = 3, startTimeout = 20, ...rest },
  ) {
    super();
    const key = JSON.stringify([rest.tokenPath, rest.personaType, slot, rest.overrides]);
    this.#options = { key, slot, maxWait, maxReconnects, startTimeout, ...rest };
    this.#video = typeof video === "string" ? document.getElementById(video) : video;
    const { signal } = this.#left;
    addEventListener("pagehide", () => this.stop(), { signal });
    if (prefetch === "idle") {
      (globalThis.requestIdleCallback ?? setTimeout)(() => signal.aborted || this.prefetch());
    } else if (prefetch) {
      for (const kind of ["pointerenter", "focusin"]) {
        prefetch.addEventListener(kind, () => this.prefetch(), { once: true, signal });
      }
    }
  }

  start() {
    if (!this.#run && !this.#left.signal.aborted) {
      const run = Object.assign(new AbortController(), { lost: 0, asked: 0, waited: 0 });
      run.done = new Promise((resolve) => (run.settle = resolve));
      this.#run = run;
      this.#converse(run);
    }
    return this.#run?.done ?? Promise.resolve(this.state);
  }

  stop() {
    this.#end(this.#run, "ended");
  }

  destroy() {
    this.#left.abort();
    this.stop();
  }

  mute(muted = true) {
    this.muted = muted;
    this.#client?.[muted ? "muteInputAudio" : "unmuteInputAudio"]();
  }

  sendMessage(text) {
    const said = text.trim();
    if (this.state !== "live" || !said) {
      return false;
    }
    this.#client.sendUserMessage(said);
    this.#typed.add(said);
    const id = `typed-${Math.random()}`;
    this.#tell("message", { id, role: "user", text: said, final: true, interrupted: false });
    return true;
  }

  async prefetch() {
    try {
      await loadSdk(this.#options); // first, since a token without it would be wasted
      return !this.#run && Boolean(await hold(this.#options));
    } catch {
      return false; // told when somebody wants to talk
    }
  }

  async #converse(run) {
    try {
      await null; // a start that is stopped in the same tick costs nothing
      while (!run.signal.aborted) {
        run.begun = true;
        await this.#attempt(run).catch((error) => this.#recover(run, error));
      }
    } catch (error) {
      this.#end(run, error.code === "closed_by_server" ? "ended" : "failed", error);
    }
  }

  /** One token, one session; always rejects, at the latest when the session is over. */
  async #attempt(run) {
    run.token = null;
    run.since = Infinity;
    this.#set("connecting", run.lost ? problem("connection_lost") : {});
    const sdk = await loadSdk(this.#options);
    run.token = await takeToken(this.#options, run);
    let timer;
    try {
      await new Promise((_, reject) => {
        const late = () => reject(problem("start_timeout"));
        timer = setTimeout(late, this.#options.startTimeout * 1000);
        run.signal.addEventListener("abort", () => reject(run.signal.reason));
        const client = this.#open(sdk, run.token, reject, () => {
          clearTimeout(timer);
          timer = setInterval(this.#watch(), 1000);
          Object.assign(run, { since: Date.now(), asked: 0, waited: 0, renewed: false });
          run.settle("live");
        });
        client
          .streamToVideoElement(this.#video.id)
          // It may have been given up while the session was being opened.
          .then(() => client === this.#client || client.stopStreaming())
          .catch(reject);
      });
    } catch (error) {
      throw explained(error);
    } finally {
      clearTimeout(timer); // or the interval
    }
  }

  #open(sdk, { sessionToken, tokenId }, close, ready) {
    const { apiBaseUrl, clientOptions, microphone = true } = this.#options;
    const client = sdk.createClient(sessionToken, {
      disableInputAudio: !microphone,
      // With a pool and a microphone, Chromium at times finds no candidates.
      rtcConfiguration: { iceCandidatePoolSize: 0 },
      ...clientOptions,
      api: { ...(apiBaseUrl && { baseUrl: apiBaseUrl }), ...clientOptions?.api },
    });
    this.#video.id ||= `anam-${tokenId}`; // the SDK finds the element by its id
    this.#client = client;
    const on = (name, hear) =>
      client.addListener(sdk.AnamEvent[name], (...facts) => client === this.#client && hear(...facts));
    on("CONNECTION_CLOSED", (code, message) => close({ code, message }));
    on("MIC_PERMISSION_DENIED", () => this.#tell("error", facts(problem("microphone_denied"))));
    on("SESSION_READY", (id) => {
      if (this.sessionId) {
        return; // said again after a reconnection
      }
      this.sessionId = id ?? client.getActiveSessionId();
      reportStarted({ ...this.#options, tokenId, sessionId: this.sessionId });
      ready();
      if (this.muted) {
        this.mute();
      }
      this.#set("live");
    });
    const texts = {};
    on("MESSAGE_STREAM_EVENT_RECEIVED", ({ id, role, content, endOfSpeech, interrupted }) => {
      if (role === "user" && this.#typed.delete(content.trim())) {
        return; // it has been told when it was sent
      }
      const text = (texts[id] = (texts[id] ?? "") + content);
      this.#tell("message", { id, role, text, final: endOfSpeech, interrupted: !!interrupted });
    });
    return client;
  }

  /** Return what looks at the picture once a second: the SDK is silent until it gives up. */
  #watch() {
    let [seen, still] = [0, 0];
    return () => {
      const frames = this.#video.getVideoPlaybackQuality?.().totalVideoFrames;
      still = frames && frames === seen && !document.hidden ? still + 1 : 0;
      seen = frames;
      const state = still < 5 ? "live" : "connecting";
      if (state !== this.state) {
        this.#set(state, still ? problem("connection_lost") : {});
      }
    };
  }

  /** Return when it is worth another attempt, else throw. */
  async #recover(run, error) {
    run.signal.throwIfAborted();
    this.#hangUp();
    const { code } = error;
    const { token } = run;
    if (code === "capacity") {
      held.set(this.#options.key, Promise.resolve(token)); // it is still good
      error.estimate = await estimate(this.#options);
      error.retryAfter = Math.min(error.estimate, 15); // it may be wrong
    } else if (token) {
      run.refused = token.tokenId; // Anam has seen it, so it is perhaps used up
      if (code === "token_refused" && !run.renewed) {
        run.renewed = true;
        return;
      }
      const before = Date.now() - run.since > 30_000 ? 0 : run.lost;
      if (!LOST.has(code) || before === this.#options.maxReconnects) {
        throw error;
      }
      run.lost = before + 1;
      return this.#wait(run, backoff(before), error);
    } else if (!error.retryable) {
      throw error;
    }
    return this.#wait(run, backoff(run.asked++, error.retryAfter), error);
  }

  async #wait(run, seconds, error) {
    run.signal.throwIfAborted();
    run.waited += seconds;
    if (run.waited > this.#options.maxWait) {
      throw error;
    }
    this.#set("waiting", Object.assign(error, { retryAfter: seconds }));
    await new Promise((resolve) => {
      setTimeout(resolve, seconds * 1000);
      run.signal.addEventListener("abort", resolve);
      if (error.code === "network") {
        addEventListener("online", resolve, { once: true });
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
    run.settle(this.state);
  }

  #hangUp() {
    const { sessionId } = this;
    const client = this.#client;
    this.#client = this.sessionId = null;
    if (sessionId) {
      reportEnded({ ...this.#options, sessionId });
    }
    client?.stopStreaming().catch(() => {});
  }

  #set(state, error = {}) {
    Object.assign(this, { state, code: error.code ?? null });
    const detail = facts(error, state === "failed");
    this.#tell("state", { state, ...detail, sessionId: this.sessionId });
    if (state === "waiting" || state === "failed") {
      this.#tell("error", detail);
    }
  }

  #tell(kind, detail) {
    if (!this.#left.signal.aborted) {
      this.dispatchEvent(new CustomEvent(kind, { detail }));
    }
  }
}

const problem = (code, message = code) => Object.assign(new Error(message), { code });

const facts = (
  { code = null, message = "", retryAfter = null, estimate = null, details = null },
  fatal = false,
) => ({ code, message, retryAfter, estimate, details, fatal });

/** Seconds before the next try: doubling, with jitter. */
const backoff = (tries, atLeast = 0) =>
  Math.max(atLeast, Math.min(8, 2 ** tries) * (0.5 + Math.random() / 2));

function explained(error) {
  const { code, message = "", statusCode } = error;
  const [, name] = /_CODE_(.+)/.exec(code) ?? [];
  if (!name) {
    return code ? error : problem("sdk_error", message);
  }
  const refused = name === "SERVER_ERROR" && statusCode >= 400 && statusCode < 500;
  return problem(refused ? "anam_rejected" : (SDK_CODES[name] ?? "connection_lost"), message);
}

const estimate = ({ urlPrefix = "/anam" }) =>
  ask(`${urlPrefix}/concurrency`)
    .then((answer) => answer.json())
    .then(({ estimatedWaitSeconds = null }) => estimatedWaitSeconds)
    .catch(() => null);

/** Unused tokens of all personas of the page, by what they are for. */
const held = new Map();

function hold(options, refused) {
  const { key } = options;
  if (!held.has(key)) {
    const asked = fetchToken({ ...options, refused }).then((token) => ({
      ...token,
      goodUntil: Date.now() + token.expiresIn * 900,
    }));
    held.set(key, asked);
    asked.catch(() => held.delete(key));
  }
  return held.get(key);
}

async function takeToken(options, { refused, signal }) {
  for (let round = 0; round < 3; round++) {
    const asked = hold(options, refused);
    const token = await asked;
    signal.throwIfAborted(); // it stays for the next start
    if (held.get(options.key) === asked) {
      held.delete(options.key);
      if (token.tokenId !== refused && token.goodUntil > Date.now()) {
        return token;
      }
    }
    refused = token.tokenId; // too old, or taken by another player of this page
  }
  throw problem("token_refused");
}

const scripts = new Map();

async function loadSdk({ sdk, sdkIntegrity = sdk ? "" : SDK_INTEGRITY }) {
  if (!globalThis.RTCPeerConnection) {
    throw problem("no_webrtc");
  }
  sdk ??= globalThis.anam?.createClient ? globalThis.anam : SDK_URL;
  if (typeof sdk !== "string") {
    return typeof sdk === "function" ? sdk() : sdk;
  }
  if (!scripts.has(sdk)) {
    scripts.set(sdk, loadScript(sdk, sdkIntegrity));
  }
  await scripts.get(sdk);
  if (!globalThis.anam?.createClient) {
    scripts.delete(sdk);
    throw problem("sdk_missing");
  }
  return globalThis.anam;
}

function loadScript(src, integrity) {
  const script = Object.assign(document.createElement("script"), { src, integrity });
  // Markup may name it.
  if (src === SDK_URL || script.src.startsWith(`${origin}/`)) {
    script.nonce = document.querySelector("script[nonce]")?.nonce ?? "";
  }
  script.crossOrigin = integrity ? "anonymous" : null;
  document.head.append(script);
  return new Promise((resolve) => (script.onload = script.onerror = resolve));
}
