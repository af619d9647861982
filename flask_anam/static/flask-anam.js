/** Persona client for web pages; flask-anam.d.ts describes the API. */

import { ask, fetchToken, reportEnded, reportStarted, tabSlot } from "./anam-token.js";

export { AnamTokenError, fetchToken, reportEnded, reportStarted, tabSlot } from "./anam-token.js";

export const SDK_URL = "https://cdn.jsdelivr.net/npm/@anam-ai/js-sdk@4.27.0/dist/umd/anam.js";
export const SDK_INTEGRITY =
  "sha384-YlLVEzjnPjezw7TzjG3RWqeUtTruSn3+WnfBBg9CyHOCpf0VqVorwHodrE7ZieF0";

/** SDK error codes to our codes; any other is "connection_lost". */
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
/** Codes after which we reconnect with another token. */
const LOST = new Set(["connection_lost", "start_timeout", "anam_unavailable"]);

export const createPersona = (video, options = {}) => new Persona(video, options);

const runs = new Set();

export const forget = () => void dispatchEvent(new Event("anam-forget"));

class Persona extends EventTarget {
  state = "idle";
  code = null;
  muted = false;
  sessionId = null;
  #video;
  #options;
  #client = null;
  #run = null;
  #reservation = null;
  #typed = new Set();
  #destroyed = new AbortController();

  constructor(
    video,
    { prefetch, slot = tabSlot(), maxWait = 120, maxReconnects = 3, startTimeout = 20, ...rest },
  ) {
    super();
    this.#options = { slot, maxWait, maxReconnects, startTimeout, ...rest };
    this.#video = typeof video === "string" ? document.getElementById(video) : video;
    const { signal } = this.#destroyed;
    for (const kind of ["pagehide", "anam-forget"]) {
      addEventListener(kind, () => this.stop(), { signal });
    }
    if (prefetch === "idle") {
      const { requestIdleCallback: idle } = globalThis;
      (idle?.call ? idle : setTimeout)(() => signal.aborted || this.prefetch());
    } else if (prefetch) {
      for (const kind of ["pointerenter", "focusin"]) {
        prefetch.addEventListener(kind, () => this.prefetch(), { once: true, signal });
      }
    }
  }

  start() {
    if (!this.#run && !this.#destroyed.signal.aborted) {
      const run = Object.assign(new AbortController(), { lost: 0, failures: 0, waited: 0 });
      run.done = new Promise((resolve) => (run.settle = resolve));
      runs.add((this.#run = run));
      this.#runAttempts(run);
    }
    return this.#run?.done ?? Promise.resolve(this.state);
  }

  stop() {
    this.#end(this.#run, "ended");
  }

  destroy() {
    this.#destroyed.abort();
    this.stop();
  }

  mute(muted = true) {
    this.muted = muted;
    this.#client?.[muted ? "muteInputAudio" : "unmuteInputAudio"]();
  }

  sendMessage(text) {
    const message = text.trim();
    if (this.state !== "live" || !message) {
      return false;
    }
    this.#client.sendUserMessage(message);
    this.#typed.add(message);
    const id = `typed-${Math.random()}`;
    this.#emit("message", { id, role: "user", text: message, final: true, interrupted: false });
    return true;
  }

  async prefetch() {
    try {
      await loadSdk(this.#options); // first: without it a token is wasted
      if (this.#run) {
        return false;
      }
      // The server keeps it: here it could outlive the login.
      this.#reservation ??= fetchToken(this.#options).finally(() => (this.#reservation = null));
      return Boolean(await this.#reservation);
    } catch {
      return false; // start() reports it
    }
  }

  async #runAttempts(run) {
    try {
      await null; // stop() in the same tick costs nothing
      while (!run.signal.aborted) {
        run.begun = true;
        await this.#attempt(run).catch((error) => this.#recover(run, error));
      }
    } catch (error) {
      this.#end(run, error.code === "closed_by_server" ? "ended" : "failed", error);
    }
  }

  /** Run one session with one token; always rejects, at the latest when the session ends. */
  async #attempt(run) {
    run.token = run.kept;
    run.kept = null;
    run.since = Infinity;
    this.#set("connecting", run.lost ? problem("connection_lost") : {});
    const sdk = await loadSdk(this.#options);
    run.token ??= await takeToken(this.#options, run);
    let timer;
    try {
      await new Promise((_, reject) => {
        const onTimeout = () => reject(problem("start_timeout"));
        timer = setTimeout(onTimeout, this.#options.startTimeout * 1000);
        run.signal.addEventListener("abort", () => reject(run.signal.reason));
        const client = this.#open(sdk, run.token, reject, () => {
          clearTimeout(timer);
          timer = setInterval(this.#freezeCheck(), 1000);
          Object.assign(run, { since: Date.now(), failures: 0, waited: 0, renewed: false });
          run.settle("live");
        });
        client
          .streamToVideoElement(this.#video.id)
          // The attempt may have been stopped meanwhile.
          .then(() => client === this.#client || client.stopStreaming())
          .catch(reject);
      });
    } catch (error) {
      throw toProblem(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #open(sdk, { sessionToken, tokenId }, close, ready) {
    const { apiBaseUrl, clientOptions, microphone = true } = this.#options;
    const client = sdk.createClient(sessionToken, {
      disableInputAudio: !microphone,
      // With a pool and microphone, Chromium sometimes finds no candidates.
      rtcConfiguration: { iceCandidatePoolSize: 0 },
      ...clientOptions,
      api: { ...(apiBaseUrl && { baseUrl: apiBaseUrl }), ...clientOptions?.api },
    });
    if (document.getElementById(this.#video.id) !== this.#video) {
      this.#video.id = `anam-${tokenId}`; // the SDK finds the element by its id
    }
    this.#client = client;
    const on = (name, listener) =>
      client.addListener(sdk.AnamEvent[name], (...args) => {
        client === this.#client && listener(...args);
      });
    on("CONNECTION_CLOSED", (code, message) => close({ code, message }));
    on("MIC_PERMISSION_DENIED", () => {
      this.#emit("error", errorDetail(problem("microphone_denied")));
    });
    on("SESSION_READY", (id) => {
      if (this.sessionId) {
        return; // repeated after a reconnection
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
        return; // sendMessage() emitted it
      }
      const text = (texts[id] = (texts[id] ?? "") + content);
      this.#emit("message", { id, role, text, final: endOfSpeech, interrupted: !!interrupted });
    });
    return client;
  }

  /** Return a check for frozen video, to run every second: the SDK reports none. */
  #freezeCheck() {
    let [last, frozen] = [0, 0];
    return () => {
      const frames = this.#video.getVideoPlaybackQuality?.().totalVideoFrames;
      frozen = frames && frames === last && !document.hidden ? frozen + 1 : 0;
      last = frames;
      const state = frozen < 5 ? "live" : "connecting";
      if (state !== this.state) {
        this.#set(state, frozen ? problem("connection_lost") : {});
      }
    };
  }

  /** Return if another attempt makes sense, else throw. */
  async #recover(run, error) {
    run.signal.throwIfAborted();
    this.#disconnect();
    const { code } = error;
    const { token } = run;
    if (code === "capacity") {
      run.kept = token; // still valid
      error.estimate = await estimate(this.#options);
      error.retryAfter = Math.min(error.estimate, 15); // an estimate
    } else if (token) {
      run.refused = token.tokenId; // perhaps used up
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
    return this.#wait(run, backoff(run.failures++, error.retryAfter), error);
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
    runs.delete(run);
    run.abort();
    this.#disconnect();
    if (run.begun) {
      this.#set(state, error);
    }
    run.settle(this.state);
  }

  #disconnect() {
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
    const detail = errorDetail(error, state === "failed");
    this.#emit("state", { state, ...detail, sessionId: this.sessionId });
    if (state === "waiting" || state === "failed") {
      this.#emit("error", detail);
    }
  }

  #emit(kind, detail) {
    if (!this.#destroyed.signal.aborted) {
      this.dispatchEvent(new CustomEvent(kind, { detail }));
    }
  }
}

const problem = (code, message = code) => Object.assign(new Error(message), { code });

const errorDetail = (
  { code = null, message = "", retryAfter = null, estimate = null, details = null },
  fatal = false,
) => ({ code, message, retryAfter, estimate, details, fatal });

/** Exponential backoff with jitter, in seconds. */
const backoff = (tries, atLeast = 0) =>
  Math.max(atLeast, Math.min(8, 2 ** tries) * (0.5 + Math.random() / 2));

function toProblem(error) {
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

async function takeToken(options, run) {
  let { refused } = run;
  for (let round = 0; round < 3; round++) {
    const token = await fetchToken({ ...options, refused });
    run.signal.throwIfAborted();
    const isTaken = [...runs].some((other) => other.token?.tokenId === token.tokenId);
    if (!isTaken && token.tokenId !== refused) {
      return (run.token = token);
    }
    refused = token.tokenId; // another persona of the page uses it
  }
  throw problem("token_refused");
}

const scripts = new Map();

async function loadSdk({ sdk, sdkIntegrity = sdk ? "" : SDK_INTEGRITY }) {
  if (!globalThis.RTCPeerConnection) {
    throw problem("no_webrtc");
  }
  sdk ??= globalSdk() || SDK_URL;
  if (typeof sdk !== "string") {
    return typeof sdk === "function" ? sdk() : sdk;
  }
  if (!scripts.has(sdk)) {
    scripts.set(sdk, loadScript(sdk, sdkIntegrity));
  }
  await scripts.get(sdk);
  const loaded = globalSdk();
  if (!loaded) {
    scripts.delete(sdk);
    throw problem("sdk_missing");
  }
  return loaded;
}

/** An element named "anam" is no own property. */
const globalSdk = () =>
  Object.hasOwn(globalThis, "anam") && anam?.createClient?.call && anam;

function loadScript(src, integrity) {
  const script = Object.assign(document.createElement("script"), { src, integrity });
  if (src === SDK_URL || script.src.startsWith(`${origin}/`)) {
    script.nonce = document.querySelector("script[nonce]")?.nonce ?? "";
  }
  script.crossOrigin = integrity ? "anonymous" : null;
  document.head.append(script);
  return new Promise((resolve) => (script.onload = script.onerror = resolve));
}
