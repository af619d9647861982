// A page in which nothing is real: a server and an SDK that do as the cases of cases.mjs say.

/** Seconds pass a hundred times as fast, for the helper only. */
const HURRY = 100;
const realTimeout = globalThis.setTimeout;
const realInterval = globalThis.setInterval;
export const pause = (ms) => new Promise((resolve) => realTimeout(resolve, ms));

export function equal(found, wanted, what = "") {
  const [a, b] = [found, wanted].map((value) => JSON.stringify(value));
  if (a !== b) {
    throw new Error(`${what} expected ${b}, found ${a}`);
  }
}

export async function until(what, holds) {
  for (let round = 0; round < 400; round++) {
    if (holds()) {
      return;
    }
    await pause(5);
  }
  throw new Error(`in vain waited for: ${what}`);
}

/** A page with a server and an SDK that do as they are told, and note what they were asked. */
export class World {
  asked = [];
  reports = [];
  clients = [];
  events = [];
  personas = [];
  answers = [];
  starts = [];
  video = { id: "v", getVideoPlaybackQuality: () => ({ totalVideoFrames: this.video.frames }) };
  concurrency = { canStartSession: false, estimatedWaitSeconds: 4 };
  minted = 0;
  user = "ada";
  /** Unused tokens, as the server keeps them: by user and by what was asked for. */
  #unused = new Map();

  constructor(helper) {
    this.helper = helper;
    globalThis.RTCPeerConnection ??= class {};
    globalThis.setTimeout = (call, ms, ...rest) => realTimeout(call, (ms ?? 0) / HURRY, ...rest);
    globalThis.setInterval = (call, ms) => realInterval(call, ms / HURRY);
    globalThis.fetch = (url, options) => this.#answer(String(url), options);
    Object.defineProperty(globalThis.navigator, "sendBeacon", {
      configurable: true,
      value: (url) => !!this.reports.push(["beacon", url]),
    });
    this.sdk = {
      AnamEvent: new Proxy({}, { get: (_, name) => name }),
      createClient: (token, options) => this.#client(token, options),
    };
  }

  persona(options = {}) {
    const persona = this.helper.createPersona(
      this.video,
      { personaType: "support", slot: "tab", sdk: this.sdk, ...options },
    );
    this.personas.push(persona);
    persona.addEventListener("state", ({ detail }) =>
      this.events.push(detail.code ? `${detail.state} ${detail.code}` : detail.state),
    );
    return persona;
  }

  get last() {
    return this.clients.at(-1);
  }

  get states() {
    return this.events.join(", ");
  }

  async #answer(url, options) {
    if (url.endsWith("/concurrency")) {
      this.reports.push(["concurrency"]);
      await this.hold;
      return Response.json(this.concurrency);
    }
    const body = JSON.parse(options.body);
    if (!url.endsWith("/api/session-token")) {
      for (const [key, token] of this.#unused) {
        body.tokenId === token.tokenId && this.#unused.delete(key);
      }
      this.reports.push([url, body]);
      return new Response(null, { status: 204 });
    }
    this.asked.push(body);
    await pause(10);
    const answer = this.answers.shift();
    if (answer instanceof Error) {
      throw answer;
    }
    if (answer?.status) {
      return Response.json(answer.body, { status: answer.status, headers: answer.headers });
    }
    const { refused, ...wanted } = body;
    const key = JSON.stringify([this.user, wanted]);
    let token = this.#unused.get(key);
    if (!token || token.tokenId === refused) {
      const id = `t${++this.minted}`;
      token = { sessionToken: `secret-${id}`, tokenId: id, expiresIn: 3600, ...answer };
      token.expiresIn < 1 ? this.#unused.delete(key) : this.#unused.set(key, token);
    }
    return Response.json(token);
  }

  #client(token, options) {
    const world = this;
    const client = {
      token,
      options,
      heard: {},
      sent: [],
      muted: null,
      stopped: 0,
      addListener: (name, hear) => (client.heard[name] = hear),
      emit: (name, ...facts) => client.heard[name]?.(...facts),
      close: (code, details) => client.emit("CONNECTION_CLOSED", `CONNECTION_CLOSED_CODE_${code}`, details),
      getActiveSessionId: () => `s-${token}`,
      muteInputAudio: () => (client.muted = true),
      unmuteInputAudio: () => (client.muted = false),
      sendUserMessage: (text) => client.sent.push(text),
      async stopStreaming() {
        client.stopped++;
        client.close("NORMAL");
      },
      async streamToVideoElement() {
        const start = world.starts.shift() ?? "ready";
        await pause(start === "slow" ? 60 : 1);
        if (typeof start === "object") {
          throw start;
        }
        if (start !== "silent") {
          queueMicrotask(() => client.emit("SESSION_READY", client.getActiveSessionId()));
        }
      },
    };
    world.clients.push(client);
    return client;
  }
}
