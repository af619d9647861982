// Runs the cases in Node; ANAM_STATIC names a folder with the modules.
import { setMaxListeners } from "node:events";
import { test } from "node:test";

const listeners = new EventTarget();
setMaxListeners(0, listeners);
for (const name of ["addEventListener", "removeEventListener", "dispatchEvent"]) {
  globalThis[name] = listeners[name].bind(listeners);
}
const stored = new Map();
globalThis.sessionStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, value),
  removeItem: (key) => stored.delete(key),
};
globalThis.document = { querySelector: () => null, getElementById: () => null };
globalThis.navigator ??= {};

const { cases, run } = await import("./cases.mjs");
let count = 0;
for (const name of Object.keys(cases)) {
  test(name, () =>
    run(name, () => import(`file://${process.env.ANAM_STATIC}/flask-anam.js?${++count}`)),
  );
}
