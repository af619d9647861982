/**
 * Player UI: connects every element that {{ anam.player() }} rendered to a persona.
 *
 * Each element has its persona as the property `persona`, and dispatches the persona's events as
 * the bubbling events "anam-state", "anam-message" and "anam-error", with the same details.
 *
 * Users of a site may be able to write markup (comments, sanitised HTML). So an element chooses only
 * what it talks about; where code and tokens come from stands in script elements of our templates.
 */

import { humanTime, sentenceFor } from "./anam-texts.js";
import { createPersona } from "./flask-anam.js";

const PLAYERS = "[data-anam-player]";
const BUSY = new Set(["connecting", "waiting", "live"]);

/** Options that markup may set: none of them names an address, and none asks for a token by itself. */
const FROM_MARKUP = ["personaType", "name", "texts", "microphone", "maxWait", "overrides"];

/**
 * Set up one player, for example one that was added to the page later; return its persona.
 * `options` come before those of the templates.
 */
export function upgrade(root, options = {}) {
  return root.persona ?? new Player(root, options).persona;
}

/**
 * Return the options that our templates wrote behind an element, else those of the page.
 *
 * They are the text of script elements, which no sanitiser lets through. With a content security
 * policy their nonce must be the one with which this module was loaded.
 */
function templateOptions(root) {
  const own = [...document.querySelectorAll("script[src]")].filter(
    ({ src }) => src === import.meta.url,
  );
  const trusted = (element) =>
    element?.matches("script[type='application/json'][data-anam-config]") &&
    own.every(({ nonce }) => nonce === element.nonce);
  const marked = root.getRootNode().querySelectorAll(`${PLAYERS}, script[data-anam-config]`);
  const next = [...marked].find((_, index) => marked[index - 1] === root);
  const ofPage = [...document.querySelectorAll("script[data-anam-config='page']")];
  const block = [next, ...ofPage].find(trusted);
  return block ? JSON.parse(block.text) : {};
}

function markupOptions(root) {
  const options = JSON.parse(root.dataset.anamPlayer);
  return Object.fromEntries(Object.entries(options).filter(([key]) => FROM_MARKUP.includes(key)));
}

class Player {
  #root;
  #config;
  #texts;
  #countdown = null;
  #microphoneDenied = false;
  #lines = new Map();

  constructor(root, given) {
    this.#root = root;
    this.#config = { ...markupOptions(root), ...templateOptions(root), ...given };
    this.#texts = this.#config.texts ?? {};
    const { prefetch, ...options } = this.#config;
    this.persona = createPersona(root.querySelector("video"), {
      ...options,
      prefetch: prefetch === "hover" ? this.#part("start") : prefetch,
    });
    root.persona = this.persona;
    for (const [kind, listener] of [
      ["state", this.#showState],
      ["message", this.#addMessage],
      ["error", this.#showError],
    ]) {
      this.persona.addEventListener(kind, ({ detail }) => {
        listener.call(this, detail);
        root.dispatchEvent(new CustomEvent(`anam-${kind}`, { detail, bubbles: true }));
      });
    }
    this.#listen();
    this.#part("start").disabled = false;
  }

  #part(name) {
    return this.#root.querySelector(`[data-anam="${name}"]`);
  }

  #text(name, time) {
    const { name: persona } = this.#config;
    return (this.#texts[name] ?? "").replaceAll("{name}", persona).replaceAll("{time}", time ?? "");
  }

  #time(seconds) {
    return humanTime(seconds, this.#root.closest("[lang]")?.lang || undefined);
  }

  #listen() {
    const on = (name, kind, listener) => this.#part(name)?.addEventListener(kind, listener);
    on("start", "click", () => this.persona.start());
    on("stop", "click", () => this.persona.stop());
    on("mute", "click", () => {
      this.persona.mute(!this.persona.muted);
      this.#part("mute").setAttribute("aria-pressed", this.persona.muted);
    });
    on("captions", "click", () => {
      const button = this.#part("captions");
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", shown);
      this.#caption();
    });
    on("say", "submit", (event) => {
      event.preventDefault();
      const field = this.#part("text");
      if (this.persona.sendMessage(field.value)) {
        field.value = "";
      }
    });
    const video = this.#root.querySelector("video");
    video.addEventListener("playing", () => (this.#root.dataset.picture = "there"));
    video.addEventListener("emptied", () => delete this.#root.dataset.picture);
  }

  #showState({ state, code, message, retryAfter, estimate }) {
    clearInterval(this.#countdown);
    const root = this.#root;
    const busy = BUSY.has(state);
    root.dataset.state = state;
    root.dataset.code = code ?? "";
    if (!busy) {
      delete root.dataset.picture;
    }
    if (state !== "live") {
      this.#caption("");
    }
    if (state === "connecting" && !code) {
      this.#clear();
    }
    this.#part("title").textContent = this.#text(state);
    const denied = state === "live" && this.#microphoneDenied;
    const reason = code ?? (denied ? "microphone_denied" : null);
    const lines = reason ? [this.#sentence(reason, message)] : [];
    if (estimate) {
      lines.push(this.#text("estimate", this.#time(estimate)));
    } else if (retryAfter) {
      lines.push(this.#text(busy ? "next_try" : "again_in", this.#time(retryAfter)));
    }
    this.#part("detail").textContent = lines.join(" ");
    this.#enable(state, busy);
    this.#count(state, retryAfter);
  }

  /** If the server gave a reason for the end, its text is shown as it is. */
  #sentence(code, message) {
    return code === "closed_by_server" && message ? message : sentenceFor(code, this.#texts);
  }

  #enable(state, busy) {
    const [start, stop, field] = ["start", "stop", "text"].map((name) => this.#part(name));
    const focused = document.activeElement;
    stop.disabled = !busy;
    for (const name of ["mute", "captions", "text", "send"]) {
      const part = this.#part(name);
      if (part) {
        part.disabled = state !== "live" || (name === "mute" && this.#microphoneDenied);
      }
    }
    start.hidden = busy;
    this.#part("start-label").textContent = this.#text(
      { ended: "start_again", failed: "try_again" }[state] ?? "start",
    );
    const talk = this.#part("talk");
    if (talk) {
      talk.hidden = state !== "live" && this.#lines.size === 0;
    }
    // The focused element may be hidden or disabled now: move the focus to the next control.
    if (busy && focused === start) {
      stop.focus();
    } else if (!busy && (focused === stop || (focused !== null && focused === field))) {
      start.focus();
    }
  }

  /** Show a countdown; screen readers read the time once, in the status. */
  #count(state, seconds) {
    const count = this.#part("count");
    count.hidden = !seconds || seconds > 3600; // a countdown of more than an hour is of no use
    if (count.hidden) {
      return;
    }
    const end = performance.now() + seconds * 1000;
    const show = () => {
      const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
      const minutes = Math.floor(left / 60);
      count.textContent = `${minutes}:${String(left % 60).padStart(2, "0")}`;
      if (left === 0) {
        clearInterval(this.#countdown);
        count.hidden = true;
      }
    };
    this.#countdown = setInterval(show, 250);
    show();
  }

  /** Remember a denied microphone, which happens before or after the start of the session. */
  #showError({ code, fatal }) {
    if (code === "microphone_denied" && !fatal) {
      this.#microphoneDenied = true;
      if (this.persona.state === "live") {
        this.#showState({ state: "live" });
      }
    }
  }

  #clear() {
    this.#microphoneDenied = false;
    this.#lines.clear();
    this.#part("lines")?.replaceChildren();
    this.#caption("");
  }

  #addMessage({ id, role, text, final, interrupted }) {
    if (role === "persona") {
      this.#caption(text);
    }
    const log = this.#part("log");
    // Only complete messages are added, so that a screen reader reads each once.
    if (!log || !(final || interrupted) || !text.trim() || this.#lines.has(id)) {
      return;
    }
    const line = document.createElement("li");
    const who = document.createElement("strong");
    line.dataset.role = role;
    who.textContent = role === "user" ? this.#text("you") : this.#config.name;
    line.append(who, " ", text.trim());
    this.#part("lines").append(line);
    this.#lines.set(id, line);
    log.scrollTop = log.scrollHeight;
  }

  #caption(text) {
    const caption = this.#part("caption");
    if (caption) {
      caption.textContent = text ?? caption.textContent;
      const enabled = this.#part("captions").getAttribute("aria-pressed") === "true";
      caption.hidden = !enabled || !caption.textContent.trim();
    }
  }
}

for (const root of document.querySelectorAll(PLAYERS)) {
  try {
    upgrade(root);
  } catch (error) {
    reportError(error); // one broken element must not stop the others
  }
}
