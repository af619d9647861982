// What happened, step by step: every player tells it in events that bubble up the page.

const journal = document.getElementById("journal");
const sessionId = document.getElementById("session-id");
let began = 0;

const STEPS = {
  connecting: "Asked for token and session",
  live: "Session started",
  waiting: "Waiting",
  ended: "Ended",
  failed: "Failed",
};

function write(text) {
  const step = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = `${((performance.now() - began) / 1000).toFixed(2)} s`;
  step.append(text, time);
  journal.append(step);
}

addEventListener("anam-state", ({ detail }) => {
  if (detail.state === "connecting" && !detail.code) {
    began = performance.now();
    journal.replaceChildren();
    sessionId.textContent = "None yet";
  }
  write(detail.code ? `${STEPS[detail.state]}: ${detail.code}` : STEPS[detail.state]);
  if (detail.sessionId) {
    sessionId.textContent = detail.sessionId;
  }
});

// Events of media do not bubble, but pass here on their way down.
addEventListener("playing", () => write("First picture"), true);
