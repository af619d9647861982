// One conversation: token from our server, session with the official Anam SDK.

import { humanTime, sentenceFor } from "./sentences.js";

const byId = (id) => document.getElementById(id);
const page = byId("talk");
const config = JSON.parse(page.dataset.config);
const { fetchToken, reportStarted, reportEnded } = await import(config.helper);

const REFUSED = "CLIENT_ERROR_CODE_AUTHENTICATION_ERROR";
const ENDED_BY_SERVER = "CONNECTION_CLOSED_CODE_SERVER_CLOSED_CONNECTION";

/** The conversation under way, or null. */
let current = null;
let expiryTimer = null;

const sdk = loadSdk();
sdk.catch(() => {}); // reported when somebody wants to talk

byId("start").addEventListener("click", start);
byId("stop").addEventListener("click", stop);
addEventListener("pagehide", stop);
byId("start").disabled = false;

async function start() {
  const talk = { began: performance.now(), client: null, token: null, sessionId: null };
  current = talk;
  setState("token", "Getting a session token", "Our server asks Anam for one.");
  byId("log").replaceChildren();
  showFacts({ tokenId: "–", sessionId: "–" });
  showNote("");
  try {
    await begin(talk, undefined);
  } catch (error) {
    if (current === talk) {
      fail(talk, error);
    }
  }
}

/** Get a token and start a session with it; `refused` is a token id that did not work. */
async function begin(talk, refused) {
  const anam = await sdk; // first, since a token without it would be wasted
  const language = byId("language")?.value;
  const token = await fetchToken({
    personaType: config.personaType,
    tokenPath: config.tokenPath,
    overrides: language && { languageCode: language },
    refused,
  });
  if (current !== talk) {
    return;
  }
  talk.token = token;
  showFacts({ tokenId: token.tokenId });
  countDown(token.expiresIn);
  addStep(talk, "Session token received");

  setState("starting", `Starting ${config.name}`, "The SDK opens a session at Anam.");
  talk.client = makeClient(anam, talk);
  try {
    await talk.client.streamToVideoElement("persona-video");
  } catch (error) {
    if (error.code === REFUSED && !refused && current === talk) {
      addStep(talk, "Token refused, asking for another");
      await begin(talk, token.tokenId);
      return;
    }
    throw error;
  }
  await started(talk);
}

function makeClient(anam, talk) {
  const client = anam.createClient(talk.token.sessionToken, {
    api: { baseUrl: config.apiBaseUrl },
    // The sandbox does not listen to speech, so it does not ask for the microphone either.
    disableInputAudio: config.sandbox,
  });
  const { CONNECTION_ESTABLISHED, VIDEO_PLAY_STARTED, CONNECTION_CLOSED } = anam.AnamEvent;
  client.addListener(CONNECTION_ESTABLISHED, () => {
    if (current === talk) {
      addStep(talk, "Media connected");
    }
  });
  client.addListener(VIDEO_PLAY_STARTED, () => {
    if (current !== talk) {
      return; // Stop was pressed just before
    }
    addStep(talk, "First picture");
    setState("connected", "Connected", `Say hello to ${config.name}.`);
  });
  client.addListener(CONNECTION_CLOSED, (code, reason) => closed(talk, code, reason));
  return client;
}

async function started(talk) {
  const sessionId = talk.client.getActiveSessionId();
  if (current !== talk) {
    await talk.client.stopStreaming(); // Stop was pressed meanwhile
    return;
  }
  talk.sessionId = sessionId;
  talk.startedAt = performance.now();
  showFacts({ sessionId });
  addStep(talk, "Engine session started");
  if (page.dataset.state !== "connected") {
    setState("engine", "Engine session started", `Session ${sessionId}`);
  }
  const known = await reportStarted({
    urlPrefix: config.urlPrefix,
    tokenId: talk.token.tokenId,
    sessionId,
  });
  addStep(talk, known ? "Start reported, token used up" : "The start could not be reported");
}

/** The SDK says that the connection is gone. */
function closed(talk, code, reason) {
  if (current !== talk) {
    return;
  }
  if (config.sandbox && code === ENDED_BY_SERVER && reason) {
    showNote(reason); // for instance that the libraries for video are not installed
  }
  fail(talk, { code });
}

function stop() {
  const talk = current;
  if (!talk) {
    return;
  }
  finish(talk);
  addStep(talk, "Stopped");
  const length = talk.startedAt ? (performance.now() - talk.startedAt) / 1000 : 0;
  setState("ended", "Conversation ended", talk.startedAt ? `It took ${humanTime(length)}.` : "");
}

function fail(talk, error) {
  finish(talk);
  addStep(talk, `Failed: ${error.code ?? error.name}`);
  setState("failed", "That did not work", sentenceFor(error));
}

function finish(talk) {
  current = null;
  clearInterval(expiryTimer);
  byId("expires-in").textContent = "–";
  showNote("");
  talk.client?.stopStreaming().catch(() => {});
  if (talk.sessionId) {
    reportEnded({ urlPrefix: config.urlPrefix, sessionId: talk.sessionId });
  }
}

function setState(state, title, more) {
  page.dataset.state = state;
  byId("status").textContent = title;
  byId("status-more").textContent = more;
  byId("start").textContent = { ended: "Start again", failed: "Try again" }[state] ?? "Start";
  byId("start").disabled = current !== null;
  byId("stop").disabled = current === null;
  if (byId("language")) {
    byId("language").hidden = current !== null;
  }
}

function addStep(talk, text) {
  const step = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = `${Math.round(performance.now() - talk.began)} ms`;
  step.append(text, time);
  byId("log").append(step);
}

function showFacts({ tokenId, sessionId }) {
  byId("token-id").textContent = tokenId ?? byId("token-id").textContent;
  byId("session-id").textContent = sessionId ?? byId("session-id").textContent;
}

function showNote(text) {
  byId("note").textContent = text;
  byId("note").hidden = !text;
}

function countDown(seconds) {
  const end = performance.now() + seconds * 1000;
  const show = () => {
    const left = Math.max(0, Math.round((end - performance.now()) / 1000));
    byId("expires-in").textContent = `${Math.floor(left / 60)} min ${String(left % 60).padStart(2, "0")} s`;
  };
  clearInterval(expiryTimer);
  expiryTimer = setInterval(show, 1000);
  show();
}

function loadSdk() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = config.sdk.url;
    if (config.sdk.integrity) {
      script.integrity = config.sdk.integrity;
      script.crossOrigin = "anonymous";
    }
    const missing = () => reject(Object.assign(new Error("no SDK"), { code: "sdk_missing" }));
    script.addEventListener("load", () => (window.anam ? resolve(window.anam) : missing()));
    script.addEventListener("error", missing);
    document.head.append(script);
  });
}
