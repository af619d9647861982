/** Messages for visitors, by the error codes of Flask-Anam; each is one short sentence. */

export const SENTENCES = {
  // The token endpoint: flask_anam.errors
  anam_error: "Something went wrong on our side.",
  config_error: "This page is not set up correctly yet.",
  persona_invalid: "This persona is not set up correctly.",
  malformed_json: "This page sent something that we could not read. Reload it, please.",
  invalid_request: "This page asked for something that is not possible. Reload it, please.",
  unauthenticated: "You are not logged in any more. Log in and come back.",
  permission_denied: "Your account may not talk to this persona.",
  cross_site: "This page may not open conversations here.",
  not_found: "This page asked at the wrong address. Reload it, please.",
  unknown_persona: "This persona does not exist any more.",
  method_not_allowed: "This page asked in the wrong way. Reload it, please.",
  payload_too_large: "This page sent too much at once.",
  unsupported_media_type: "This page asked in the wrong way. Reload it, please.",
  minutes_exhausted: "You have used up your time for conversations.",
  too_many_sessions: "You have another conversation open. End that one first.",
  rate_limited: "You have started many conversations in a short time.",
  anam_auth: "This service is not connected to Anam at the moment. We have to look into it.",
  anam_quota: "No more conversations are possible at the moment. We have to look into it.",
  anam_rejected: "Anam did not accept this persona. We have to look into it.",
  anam_bad_response: "Anam gave an answer that made no sense.",
  anam_rate_limited: "Many people are starting conversations right now.",
  anam_unavailable: "Anam cannot be reached right now.",
  anam_at_capacity: "All places are taken right now.",
  busy: "Many people are starting conversations right now.",
  anam_timeout: "Anam is taking too long to answer.",
  // The browser helper
  network: "There is no connection to our server. Are you online?",
  timeout: "Our server is taking too long to answer.",
  bad_answer: "Our server gave an answer that made no sense.",
  sdk_missing: "A part of this page could not be loaded. Check your connection or ad blocker.",
  sdk_error: "The conversation could not be opened.",
  no_webrtc: "This browser cannot show live video. Try a current Chrome, Edge, Firefox or Safari.",
  token_refused: "The conversation was refused. Try again in a moment.",
  capacity: "All places are taken right now.",
  connection_lost: "The connection was lost.",
  start_timeout: "The picture did not arrive in time.",
  microphone_denied: "The microphone is off limits for this page. You can write instead.",
  closed_by_server: "The conversation has come to its end.",
};

/** Return the message for a code; `texts` can replace messages, for example to translate them. */
export function sentenceFor(code, texts = {}) {
  return texts[code] ?? SENTENCES[code] ?? texts.anam_error ?? SENTENCES.anam_error;
}

/** Format a duration in seconds for people, in a language: "42 seconds", "3 minutes". */
export function humanTime(seconds, language) {
  const whole = Math.max(1, Math.ceil(seconds));
  const [size, unit] = whole < 100 ? [1, "second"] : whole < 6000 ? [60, "minute"] : [3600, "hour"];
  const value = Math.ceil(whole / size);
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(value);
}
