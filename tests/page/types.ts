// Compiled, never run: the types say what the module does, and refuse what it does not.
import {
  AnamTokenError,
  SDK_INTEGRITY,
  SDK_URL,
  createPersona,
  fetchToken,
  forget,
  reportEnded,
  reportStarted,
  tabSlot,
  type Persona,
  type PersonaState,
} from "../../flask_anam/static/flask-anam.js";

const video: HTMLVideoElement = document.createElement("video");
const persona: Persona = createPersona(video, {
  personaType: "support",
  slot: null,
  sdk: () => import("@anam-ai/js-sdk"),
  prefetch: video,
  overrides: { languageCode: "de" },
});
createPersona("an-id", { sdk: SDK_URL, sdkIntegrity: SDK_INTEGRITY, prefetch: "idle" });
persona.addEventListener("state", ({ detail }) => {
  const state: PersonaState = detail.state;
  const wait: number | null = detail.retryAfter;
  console.log(state, wait, detail.code);
});
persona.addEventListener("message", ({ detail }) => console.log(detail.role === "user", detail.text));
persona.addEventListener("error", ({ detail }) => console.log(detail.fatal));
const state: Promise<PersonaState> = persona.start();
const heard: boolean = persona.sendMessage("hello");
persona.mute();
persona.mute(false);
persona.prefetch().then((there: boolean) => console.log(there, heard, state));
persona.stop();
persona.destroy();
forget();

async function byHand(): Promise<void> {
  try {
    const token = await fetchToken({ personaType: "support", slot: tabSlot() });
    await reportStarted({ tokenId: token.tokenId, sessionId: "s" });
    await reportEnded({ sessionId: "s" });
  } catch (error) {
    if (error instanceof AnamTokenError && error.retryAfter !== null) {
      console.log(error.code, error.retryAfter * 1000);
    }
  }
}
void byHand;

// @ts-expect-error there is no such option
createPersona(video, { persona: "support" });
// @ts-expect-error the state is not for others to set
persona.state = "live";
// @ts-expect-error a session id is needed
reportStarted({ tokenId: "t" });
