// Stands in for the official SDK in the browser tests: starts sessions at the sandbox as the SDK
// does, and does the rest as the test says through `fakeAnam`.
(() => {
  const fake = { clients: [], ready: true, mutes: [] };
  const FAILURES = {
    401: "AUTHENTICATION_ERROR",
    402: "NO_PLAN_FOUND",
    429: "MAX_CONCURRENT_SESSIONS_REACHED",
    503: "SERVICE_BUSY",
  };

  /** A moving picture without a camera: a soft face before a soft wall. */
  function picture() {
    const canvas = Object.assign(document.createElement("canvas"), { width: 720, height: 480 });
    const pen = canvas.getContext("2d");
    let time = 0;
    const shape = (colour, ...ellipse) => {
      pen.fillStyle = colour;
      pen.beginPath();
      pen.ellipse(...ellipse, 0, 0, 7);
      pen.fill();
    };
    const draw = () => {
      time += 0.1;
      const wall = pen.createLinearGradient(0, 0, 720, 480);
      wall.addColorStop(0, "#dfe9e4");
      wall.addColorStop(1, "#7fa39b");
      pen.fillStyle = wall;
      pen.fillRect(0, 0, 720, 480);
      const y = 4 * Math.sin(time);
      shape("#234e4a", 360, 560 + y, 220, 190);
      shape("#d7a583", 360, 350 + y, 42, 70);
      shape("#3b2a22", 360, 190 + y, 112, 130);
      shape("#e9bd9b", 360, 220 + y, 92, 116);
      shape("#2c2522", 325, 205 + y, 9, 11);
      shape("#2c2522", 395, 205 + y, 9, 11);
      shape("#a8574c", 360, 278 + y, 26, 8 + 5 * Math.abs(Math.sin(3 * time)));
    };
    setInterval(draw, 50);
    draw();
    return canvas.captureStream(20);
  }

  class FakeClient {
    #heard = {};
    #baseUrl;
    #token;
    sent = [];
    stopped = false;

    constructor(token, options) {
      this.#token = token;
      this.#baseUrl = options.api.baseUrl;
      fake.clients.push(this);
    }

    addListener(name, hear) {
      this.#heard[name] = hear;
    }

    emit(name, ...facts) {
      this.#heard[name]?.(...facts);
    }

    close(code, details) {
      this.emit("CONNECTION_CLOSED", `CONNECTION_CLOSED_CODE_${code}`, details);
    }

    say(id, role, content, endOfSpeech = true) {
      this.emit("MESSAGE_STREAM_EVENT_RECEIVED", { id, role, content, endOfSpeech, interrupted: false });
    }

    getActiveSessionId() {
      return this.sessionId;
    }

    muteInputAudio() {
      fake.mutes.push(true);
    }

    unmuteInputAudio() {
      fake.mutes.push(false);
    }

    sendUserMessage(text) {
      this.sent.push(text);
    }

    async stopStreaming() {
      this.stopped = true;
      this.video?.srcObject?.getTracks().forEach((track) => track.stop());
    }

    async streamToVideoElement(id) {
      const response = await fetch(`${this.#baseUrl}/v1/engine/session`, {
        method: "POST",
        headers: { Authorization: `Bearer ${this.#token}`, "Content-Type": "application/json" },
        body: JSON.stringify({ clientMetadata: { client: "js-sdk", version: "4.27.0" } }),
      });
      const answer = await response.json();
      if (!response.ok) {
        const code = `CLIENT_ERROR_CODE_${FAILURES[response.status] ?? "SERVER_ERROR"}`;
        throw Object.assign(new Error(answer.message), { code, statusCode: response.status });
      }
      this.sessionId = answer.sessionId;
      this.video = document.getElementById(id);
      if (fake.ready) {
        this.video.muted = true;
        this.video.srcObject = picture();
        this.emit("SESSION_READY", answer.sessionId);
      }
    }
  }

  const names = ["CONNECTION_CLOSED", "MESSAGE_STREAM_EVENT_RECEIVED", "MIC_PERMISSION_DENIED", "SESSION_READY"];
  globalThis.fakeAnam = fake;
  globalThis.anam = {
    AnamEvent: Object.fromEntries(names.map((name) => [name, name])),
    createClient: (token, options) => new FakeClient(token, options),
  };
})();
