// What went wrong, said for people: one sentence for each error code.

const AT_OUR_END = "The server could not get a session token. The people who run it have to look into it.";

const SENTENCES = {
  // Codes of the token endpoint.
  unauthenticated: "You are no longer logged in. Log in again to talk.",
  permission_denied: "Your account may not talk to this persona.",
  cross_site: "The request seemed to come from another site, so it was refused. Reload this page.",
  unknown_persona: "This persona does not exist any more.",
  rate_limited: "You have asked for many conversations in a short time.",
  persona_invalid: "This persona is not set up correctly.",
  anam_auth: AT_OUR_END,
  anam_quota: "The Anam account of this site has reached its limit.",
  anam_rejected: AT_OUR_END,
  anam_bad_response: "Anam gave an answer that made no sense.",
  anam_rate_limited: "Anam has a lot to do at the moment.",
  anam_unavailable: "Anam cannot be reached right now.",
  anam_timeout: "Anam took too long to answer.",
  busy: "Many people want to talk right now.",
  // Codes of the helper.
  network: "The server cannot be reached. Check your connection.",
  timeout: "The server took too long to answer.",
  bad_answer: "Something between you and the server gave an unexpected answer.",
  // Codes of the SDK.
  CLIENT_ERROR_CODE_AUTHENTICATION_ERROR: "The session token was refused.",
  CLIENT_ERROR_CODE_MAX_CONCURRENT_SESSIONS_REACHED: "All places for conversations are taken.",
  CLIENT_ERROR_CODE_USAGE_LIMIT_REACHED: "The Anam account of this site has reached its limit.",
  CLIENT_ERROR_CODE_SPEND_CAP_REACHED: "The Anam account of this site has reached its limit.",
  CLIENT_ERROR_CODE_NO_PLAN_FOUND: "The Anam account of this site has no plan.",
  CLIENT_ERROR_CODE_SERVICE_BUSY: "Anam has a lot to do at the moment.",
  CONNECTION_CLOSED_CODE_MICROPHONE_PERMISSION_DENIED:
    "Your browser does not let this page use the microphone. Allow it and start again.",
  CONNECTION_CLOSED_CODE_SIGNALLING_CLIENT_CONNECTION_FAILURE: "The connection to Anam was lost.",
  CONNECTION_CLOSED_CODE_WEBRTC_FAILURE: "Video and sound could not get through your network.",
  // Codes of this page.
  sdk_missing: "The Anam SDK could not be loaded. Check your connection, or run tools/get-sdk.sh.",
};

/** The sentence for an error, with the wait when one is known. */
export function sentenceFor({ code, retryable = false, retryAfter = null }) {
  const sentence = SENTENCES[code] ?? "The conversation could not start.";
  if (retryAfter) {
    return `${sentence} Try again in ${humanTime(retryAfter)}.`;
  }
  return retryable ? `${sentence} Try again in a moment.` : sentence;
}

/** A number of seconds in words, rounded up to something one would say. */
export function humanTime(seconds) {
  if (seconds < 90) {
    return count(Math.ceil(seconds), "second");
  }
  return seconds < 5400 ? count(Math.ceil(seconds / 60), "minute") : count(Math.ceil(seconds / 3600), "hour");
}

function count(number, unit) {
  return `${number} ${unit}${number === 1 ? "" : "s"}`;
}
