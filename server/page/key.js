/** The API key: asked for when the service first requires one, and kept in this tab only. */

import { KEY_REFUSED, KEY_WANTED } from "./words.js";

const STORED_AS = "digits-key";
/** Not allowed in a header: browsers throw for some of these, servers reject the rest. */
const FORBIDDEN_IN_HEADERS = /[\x00-\x08\x0a-\x1f\x7f]/;

const form = document.getElementById("key-form");
const field = document.getElementById("key");
const title = document.getElementById("answers-title");

let key = recall();
/** How many requests are waiting for a key. */
let waiting = 0;

/** @returns {string | null}  the key that was entered, if any */
export function currentKey() {
  return key;
}

/** Return a key encoded for a header: one character for each UTF-8 byte. */
export function headerOf(key) {
  return String.fromCharCode(...new TextEncoder().encode(key));
}

/**
 * Ask for a key, unless a different one has been entered since the refused one was sent.
 *
 * @param {string | null} refused  the key that was sent, if any
 * @param {AbortSignal} [signal]  aborts the wait
 * @returns {Promise<unknown>}  resolves once there is a new key, or the signal has fired
 */
export async function newKey(refused, signal) {
  if (refused !== key) return;
  show(refused === null ? KEY_WANTED : KEY_REFUSED);
  waiting += 1;
  await new Promise((resolve) => {
    form.addEventListener("submit", resolve, { once: true });
    signal?.addEventListener("abort", resolve, { once: true });
  });
  waiting -= 1;
  if (!waiting) form.hidden = true;
}

function show(words) {
  const help = document.getElementById("key-help");
  // Announced once, not again after each stroke.
  if (form.hidden || help.textContent !== words) help.textContent = words;
  field.setAttribute("aria-invalid", words === KEY_REFUSED);
  form.hidden = false;
  // Focus the field only if the user has just entered a key, and is not busy elsewhere.
  if (document.activeElement === title) field.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const entered = field.value.trim();
  field.value = "";
  form.hidden = true;
  title.focus();
  if (FORBIDDEN_IN_HEADERS.test(entered)) {
    // Keeps waiting requests from resuming.
    event.stopImmediatePropagation();
    show(KEY_REFUSED);
    return;
  }
  key = entered;
  keep(key);
});

function keep(key) {
  try {
    sessionStorage.setItem(STORED_AS, key);
  } catch {
    // If storage is disabled, the key lasts as long as the page.
  }
}

function recall() {
  try {
    return sessionStorage.getItem(STORED_AS);
  } catch {
    return null;
  }
}
