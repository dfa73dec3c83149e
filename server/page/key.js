/** The key that some services need: asked for once it is needed, and kept in this tab only. */

import { KEY_REFUSED, KEY_WANTED } from "./words.js";

const STORED_AS = "digits-key";
/** What no header can hold: browsers throw at some of it, and servers take the rest for no HTTP. */
const NO_HEADER = /[\x00-\x08\x0a-\x1f\x7f]/;

const form = document.getElementById("key-form");
const field = document.getElementById("key");
const title = document.getElementById("answers-title");

let key = recall();
/** How many wait for a key. */
let waiting = 0;

/** @returns {string | null}  the key that was entered, if any was */
export function currentKey() {
  return key;
}

/** Return a key as a header takes it: each byte of its UTF-8 as a character. */
export function headerOf(key) {
  return String.fromCharCode(...new TextEncoder().encode(key));
}

/**
 * Ask for a key, unless another one than that refused has been entered meanwhile.
 *
 * @param {string | null} refused  the key that was sent, if any was
 * @param {AbortSignal} [signal]  of who does not wait any more
 * @returns {Promise<unknown>}  kept once there is a new key, or the signal has fired
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
  // Told once, and not again after each stroke.
  if (form.hidden || help.textContent !== words) help.textContent = words;
  field.setAttribute("aria-invalid", words === KEY_REFUSED);
  form.hidden = false;
  // Who has just entered one is still here; others may be in the middle of something.
  if (document.activeElement === title) field.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const entered = field.value.trim();
  field.value = "";
  form.hidden = true;
  title.focus();
  if (NO_HEADER.test(entered)) {
    // Those who wait are not told of it.
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
    // Browsers may be told to keep nothing: then it lasts as long as the page.
  }
}

function recall() {
  try {
    return sessionStorage.getItem(STORED_AS);
  } catch {
    return null;
  }
}
