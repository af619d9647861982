// The cases of the browser helper, against a small fake of the SDK; run in Node and in Chromium.
import { World, equal, pause, until } from "./world.mjs";

const sdkError = (name, statusCode = 0) =>
  Object.assign(new Error(name), { code: `CLIENT_ERROR_CODE_${name}`, statusCode });
const refusal = (status, code, facts = {}) => ({
  status,
  body: { error: code, code, retryable: false, ...facts },
});

export const cases = {
  async "a start reports the session and a stop ends it"(w) {
    const persona = w.persona({ apiBaseUrl: "https://api.test", overrides: { languageCode: "de" } });
    equal(await persona.start(), "live");
    equal(w.asked, [{ personaType: "support", slot: "tab", overrides: { languageCode: "de" } }]);
    const { rtcConfiguration, ...options } = w.last.options;
    equal(options, { disableInputAudio: false, api: { baseUrl: "https://api.test" } });
    equal(rtcConfiguration, { iceCandidatePoolSize: 0 });
    equal(w.reports, [["/anam/sessions", { tokenId: "t1", sessionId: "s-secret-t1" }]]);
    persona.stop();
    equal(w.reports[1], ["beacon", "/anam/sessions/s-secret-t1/end"]);
    equal([w.states, w.last.stopped], ["connecting, live, ended", 1]);
    equal(await persona.start(), "live");
    equal(w.asked.length, 2, "tokens");
  },

  async "a double click costs one token"(w) {
    const persona = w.persona();
    equal(await Promise.all([persona.start(), persona.start()]), ["live", "live"]);
    equal([w.asked.length, w.clients.length], [1, 1]);
  },

  async "start, stop and start in one tick cost one token"(w) {
    const persona = w.persona();
    const first = persona.start();
    persona.stop();
    equal(await persona.start(), "live");
    equal([await first, w.asked.length, w.states], ["idle", 1, "connecting, live"]);
  },

  async "a double mount with two objects costs one token"(w) {
    const first = w.persona();
    first.start();
    first.destroy();
    equal(await w.persona().start(), "live");
    equal([w.asked.length, w.clients.length], [1, 1]);
  },

  async "a token that comes after the stop is used by the next start"(w) {
    const persona = w.persona();
    persona.start();
    await until("the request", () => w.asked.length);
    persona.stop();
    equal([await persona.start(), w.minted, w.clients.length], ["live", 1, 1]);
  },

  async "a session that opens after the stop is closed"(w) {
    w.starts.push("slow");
    const persona = w.persona();
    persona.start();
    await until("the client", () => w.last);
    persona.stop();
    await until("both stops", () => w.last.stopped === 2);
    equal([w.states, w.reports], ["connecting, ended", []]);
  },

  async "prefetch gets the token that the start uses"(w) {
    const persona = w.persona();
    equal(await Promise.all([persona.prefetch(), persona.prefetch()]), [true, true]);
    equal([w.asked.length, w.states], [1, ""]);
    await persona.start();
    equal([w.asked.length, w.minted, w.last.token], [2, 1, "secret-t1"]);
  },

  async "the next user of a tab gets their own token"(w) {
    const first = w.persona();
    await first.prefetch();
    first.destroy();
    w.user = "bob";
    await w.persona().start();
    equal([w.minted, w.last.token], [2, "secret-t2"]);
  },

  async "a log-out stops every persona and every attempt"(w) {
    const [first, second] = [w.persona(), w.persona()];
    await first.start();
    second.start();
    await until("the request", () => w.asked.length === 2);
    w.helper.forget();
    w.user = "bob";
    await pause(20);
    equal([first.state, second.state, w.clients.length], ["ended", "ended", 1]);
    equal(await second.start(), "live");
    equal([w.last.token, w.clients.length], [`secret-t${w.minted}`, 2]);
  },

  async "prefetch on hover asks once and tells nobody of a failure"(w) {
    const button = new EventTarget();
    w.answers.push(refusal(403, "permission_denied"));
    w.persona({ prefetch: button });
    button.dispatchEvent(new Event("pointerenter"));
    button.dispatchEvent(new Event("pointerenter"));
    await until("the request", () => w.asked.length);
    await pause(20);
    equal([w.asked.length, w.states], [1, ""]);
  },

  async "prefetch on idle asks by itself"(w) {
    w.persona({ prefetch: "idle" });
    await until("the request", () => w.asked.length);
  },

  async "a token that is too old is replaced before the start"(w) {
    w.answers.push({ expiresIn: 0.001 });
    const persona = w.persona();
    await persona.prefetch();
    await pause(5);
    await persona.start();
    equal([w.asked.length, w.minted, w.last.token], [2, 2, "secret-t2"]);
  },

  async "a refused token is replaced once"(w) {
    w.starts.push(sdkError("AUTHENTICATION_ERROR"));
    const persona = w.persona();
    equal(await persona.start(), "live");
    equal(w.asked.map((body) => body.refused), [undefined, "t1"]);
    equal([w.clients[0].stopped, w.last.token], [1, "secret-t2"]);
  },

  async "two refusals in a row are a failure"(w) {
    w.starts.push(sdkError("AUTHENTICATION_ERROR"), sdkError("AUTHENTICATION_ERROR"));
    equal([await w.persona().start(), w.asked.length], ["failed", 2]);
    equal(w.states, "connecting, connecting, failed token_refused");
  },

  async "a lost connection gets another session with another token"(w) {
    const persona = w.persona();
    await persona.start();
    w.last.close("WEBRTC_FAILURE");
    await until("another session", () => persona.state === "live" && w.clients.length === 2);
    equal(w.asked.map((body) => body.refused), [undefined, "t1"]);
    equal(w.reports[1], ["beacon", "/anam/sessions/s-secret-t1/end"]);
    equal(w.states, "connecting, live, waiting connection_lost, connecting connection_lost, live");
  },

  async "a picture that stands still is told, and forgotten when it moves again"(w) {
    const persona = w.persona();
    w.video.frames = 7;
    await persona.start();
    await until("the loss", () => persona.state === "connecting");
    equal([persona.code, persona.sendMessage("hello")], ["connection_lost", false]);
    const moving = setInterval(() => w.video.frames++, 100);
    await until("the picture", () => persona.state === "live");
    clearInterval(moving);
    equal(w.states, "connecting, live, connecting connection_lost, live");
    equal([w.asked.length, w.clients.length], [1, 1]);
  },

  async "an end that nobody can be told is told later"(w) {
    const persona = w.persona();
    await persona.start();
    Object.defineProperty(navigator, "onLine", { configurable: true, value: false });
    persona.stop();
    await pause(10);
    equal(w.reports.length, 1);
    Object.defineProperty(navigator, "onLine", { configurable: true, value: true });
    globalThis.dispatchEvent(new Event("online"));
    await until("the report", () => w.reports.length === 2);
    equal(w.reports[1], ["beacon", "/anam/sessions/s-secret-t1/end"]);
  },

  async "reconnecting has an end"(w) {
    w.starts.push("silent", "silent", "silent");
    const persona = w.persona({ maxReconnects: 2, startTimeout: 1 });
    equal([await persona.start(), w.asked.length], ["failed", 3]);
    equal(persona.code, "start_timeout");
    equal(w.clients.map((client) => client.stopped), [1, 1, 1]);
  },

  async "an end by the server is an end, with its reason"(w) {
    const persona = w.persona();
    let told;
    persona.addEventListener("state", ({ detail }) => (told = detail));
    await persona.start();
    w.last.close("SERVER_CLOSED_CONNECTION", "Time is up.");
    await until("the end", () => persona.state === "ended");
    equal([told.code, told.message, w.asked.length], ["closed_by_server", "Time is up.", 1]);
  },

  async "capacity is waited for with the estimate and the same token"(w) {
    w.starts.push(sdkError("MAX_CONCURRENT_SESSIONS_REACHED", 429));
    const persona = w.persona();
    let waiting;
    persona.addEventListener("state", ({ detail }) => {
      waiting = detail.state === "waiting" ? detail : waiting;
    });
    equal(await persona.start(), "live");
    equal([waiting.code, waiting.estimate, waiting.retryAfter], ["capacity", 4, 4]);
    equal([w.asked.length, w.last.token, w.reports[0]], [1, "secret-t1", ["concurrency"]]);
  },

  async "waiting for a place has an end, and can be stopped"(w) {
    w.starts = Array.from({ length: 9 }, () => sdkError("MAX_CONCURRENT_SESSIONS_REACHED", 429));
    equal(await w.persona({ maxWait: 10 }).start(), "failed");
    equal(w.clients.length, 3, "tries of 4 s within 10 s");
    w.concurrency.estimatedWaitSeconds = 3000;
    const persona = w.persona();
    persona.start();
    await until("waiting", () => persona.state === "waiting");
    persona.stop();
    await pause(30);
    equal(persona.state, "ended");
  },

  async "a stop while the estimate is on its way is the end"(w) {
    w.starts.push(sdkError("MAX_CONCURRENT_SESSIONS_REACHED", 429));
    w.hold = new Promise((resolve) => (w.release = resolve));
    const persona = w.persona();
    persona.start();
    await until("the question", () => w.reports.length);
    persona.stop();
    w.release();
    await pause(30);
    equal([w.states, w.clients.length], ["connecting, ended", 1]);
  },

  async "a limit is waited out as long as the server says"(w) {
    w.answers.push(refusal(429, "rate_limited", { retryable: true, retryAfter: 7 }));
    const persona = w.persona();
    const waits = [];
    persona.addEventListener("state", ({ detail }) => waits.push(detail.retryAfter));
    const began = performance.now();
    equal(await persona.start(), "live");
    equal(waits, [null, 7, null, null]);
    equal(performance.now() - began >= 68, true, "waited");
    equal(w.states, "connecting, waiting rate_limited, connecting, live");
  },

  async "a limit that is too far away is a failure that says when"(w) {
    w.answers.push({ ...refusal(429, "rate_limited", { retryable: true }), headers: { "Retry-After": "900" } });
    const persona = w.persona();
    let told;
    persona.addEventListener("error", ({ detail }) => (told = detail));
    equal([await persona.start(), persona.code], ["failed", "rate_limited"]);
    equal([told.retryAfter, told.fatal, w.asked.length], [900, true, 1]);
  },

  async "what is not retryable is not retried"(w) {
    w.answers.push(refusal(403, "permission_denied"));
    equal([await w.persona().start(), w.asked.length], ["failed", 1]);
    equal([w.states, w.clients.length], ["connecting, failed permission_denied", 0]);
  },

  async "a server that comes back is found"(w) {
    w.answers.push(new TypeError("down"), refusal(503, "anam_unavailable", { retryable: true, retryAfter: 2 }));
    equal([await w.persona().start(), w.asked.length], ["live", 3]);
    equal(
      w.states,
      "connecting, waiting network, connecting, waiting anam_unavailable, connecting, live",
    );
  },

  async "each refusal of Anam has its code"(w) {
    for (const [error, code] of [
      [sdkError("SPEND_CAP_REACHED", 429), "anam_quota"],
      [sdkError("NO_PLAN_FOUND", 402), "anam_quota"],
      [sdkError("VALIDATION_ERROR", 400), "anam_rejected"],
      [sdkError("SERVER_ERROR", 404), "anam_rejected"],
      [sdkError("SERVER_ERROR", 500), "anam_unavailable"],
      [sdkError("SERVICE_BUSY", 503), "anam_unavailable"],
      [new Error("odd"), "sdk_error"],
    ]) {
      w.starts.push(error);
      const persona = w.persona({ maxReconnects: 0 });
      equal([await persona.start(), persona.code], ["failed", code]);
    }
  },

  async "without WebRTC or SDK no token is asked for"(w) {
    const kept = globalThis.RTCPeerConnection;
    globalThis.RTCPeerConnection = undefined;
    const persona = w.persona();
    await persona.start();
    const prefetched = await persona.prefetch();
    globalThis.RTCPeerConnection = kept;
    const other = w.persona({ sdk: () => Promise.reject(Object.assign(new Error(), { code: "x" })) });
    await other.start();
    equal([persona.code, other.code, w.asked.length, prefetched], ["no_webrtc", "x", 0, false]);
  },

  async "the microphone can be off before and during a conversation"(w) {
    const persona = w.persona();
    persona.mute();
    await persona.start();
    equal([w.last.muted, persona.muted], [true, true]);
    persona.mute(false);
    equal([w.last.muted, persona.muted], [false, false]);
    let told;
    persona.addEventListener("error", ({ detail }) => (told = detail));
    w.last.emit("MIC_PERMISSION_DENIED", "no");
    equal([told.code, told.fatal, persona.state], ["microphone_denied", false, "live"]);
  },

  async "messages are put together, and an echo is told once"(w) {
    const persona = w.persona();
    const told = [];
    persona.addEventListener("message", ({ detail }) => told.push([detail.role, detail.text, detail.final]));
    equal(persona.sendMessage("too early"), false);
    await persona.start();
    equal([persona.sendMessage(" hello "), persona.sendMessage("  ")], [true, false]);
    const say = (role, content, endOfSpeech) =>
      w.last.emit("MESSAGE_STREAM_EVENT_RECEIVED", { id: role, role, content, endOfSpeech });
    say("user", "hello", true);
    say("persona", "Good ", false);
    say("persona", "day", true);
    say("user", "hello", true);
    equal([persona.sendMessage("one"), persona.sendMessage("two")], [true, true]);
    say("user", "one", true);
    say("user", "two", true);
    equal(w.last.sent, ["hello", "one", "two"]);
    equal(told, [
      ["user", "hello", true],
      ["persona", "Good ", false],
      ["persona", "Good day", true],
      ["user", "hello", true],
      ["user", "one", true],
      ["user", "two", true],
    ]);
  },

  async "the end is reported when the page goes away"(w) {
    const persona = w.persona();
    await persona.start();
    globalThis.dispatchEvent(new Event("pagehide"));
    equal(w.reports[1], ["beacon", "/anam/sessions/s-secret-t1/end"]);
    equal(persona.state, "ended");
    globalThis.dispatchEvent(new Event("pageshow"));
  },

  async "nothing is heard after the end of the object"(w) {
    const persona = w.persona();
    await persona.start();
    persona.destroy();
    equal([w.states, w.last.stopped], ["connecting, live", 1]);
    equal([await persona.start(), w.asked.length], ["ended", 1]);
  },

  async "two personas of one page do not share a token"(w) {
    equal(await Promise.all([w.persona().start(), w.persona().start()]), ["live", "live"]);
    equal(new Set(w.clients.map((client) => client.token)).size, 2);
  },

  async "a duplicated tab finds no slot, a reload finds its own"(w) {
    const own = w.helper.tabSlot();
    equal([/^\d+(-\d+){3}$/.test(own), sessionStorage.getItem("flask-anam-slot")], [true, null]);
    globalThis.dispatchEvent(new Event("pagehide"));
    equal(sessionStorage.getItem("flask-anam-slot"), own);
    globalThis.dispatchEvent(new Event("pageshow"));
    equal(sessionStorage.getItem("flask-anam-slot"), null);
  },
};

/** Run one case in a fresh world, with a module that nobody has used. */
export async function run(name, load) {
  const world = new World(await load());
  await cases[name](world).finally(() => world.personas.forEach((persona) => persona.destroy()));
}
