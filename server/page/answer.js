/** Asking the service: one picture to its answer, and a drawing that changes to its newest answer. */

import { currentKey, headerOf, newKey } from "./key.js";
import { WAITING_FOR_KEY, WAITING_FOR_SERVICE } from "./words.js";

export const SERVICE = new URL("recognize.json", document.baseURI).href;

/**
 * @typedef {object} Digit  one digit that was read
 * @property {number} digit  0 to 9
 * @property {number} confidence  0 to 1
 * @property {number[]} probabilities  of the ten digits, each 0 to 1
 * @property {[number, number, number, number]} box  x, y, width, height in pixels of the picture
 * @property {string} crop  data: URI of the 28 x 28 pixels that the network saw
 *
 * @typedef {object} Answer
 * @property {string} number  rows parted by a newline, empty where there is no digit
 * @property {number} confidence  0 to 1
 * @property {Digit[]} digits  in reading order
 * @property {{width: number, height: number}} image  size of the upright picture in pixels
 *
 * @typedef {{status: number, code: string, title: string, detail: string}} Problem
 * @typedef {{answer?: Answer, problem?: Problem}} Outcome  one of the two
 */

/** What stands in the place of a problem document when the service sent none. */
const NO_ANSWER = {
  status: 0,
  code: "no_answer",
  title: "No answer",
  detail: "The service could not be reached, or hung up.",
};

/**
 * Requests begin at least this far apart, so that even one who draws without a pause stays well
 * below the 10 a second that a proxy (ours are in deploy/) lets an address ask.
 */
const PACE_MS = 200;

/** How often the same is asked while the service, or a proxy before it, is busy. */
const TRIES = 4;
const BUSY = [429, 503];
/** What is waited between two tries where that is not said; what is longer people decide. */
const WAIT_SECONDS = 1;
const LONGEST_WAIT_SECONDS = 10;

/** When any request may begin, by the clock of `performance.now()`. */
let nextTurn = 0;

/**
 * Have a picture read, in its turn, and again if the service is busy or needs a key.
 *
 * @param {() => Blob | string} describe  returns what is sent, called when it is: a picture's
 *     file, or JSON with a data: URI
 * @param {object} options
 * @param {AbortSignal} [options.signal]
 * @param {(sent: number) => void} [options.onProgress]  gets the part that has been sent, 0 to 1
 * @param {(why: string) => void} [options.onWait]  called before it is sent again
 * @returns {Promise<Outcome | null>}  null once the signal has fired
 */
export async function ask(describe, options = {}) {
  let tries = 0;
  for (;;) {
    await turn();
    if (options.signal?.aborted) return null;
    const key = currentKey();
    const sending = send(describe(), key, options);
    // From when it is sent: to describe a drawing takes longer at one time than at another.
    nextTurn = performance.now() + PACE_MS;
    const request = await sending;
    if (options.signal?.aborted) return null;
    const result = outcome(request);
    if (result.problem?.code === "unauthorized") {
      options.onWait?.(WAITING_FOR_KEY);
      await newKey(key, options.signal);
      continue;
    }
    if (!BUSY.includes(request.status)) return result;
    // Of a busy service only: people may enter as many keys as they like.
    tries += 1;
    const seconds = wait(request);
    if (tries === TRIES || seconds > LONGEST_WAIT_SECONDS) return result;
    options.onWait?.(WAITING_FOR_SERVICE);
    await pause(seconds, options.signal);
  }
}

/** Wait so long, or until the signal fires. */
function pause(seconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", resolve, { once: true });
  });
}

/** Wait until nobody has to be waited for; others may have waited for the same, and be first. */
async function turn() {
  while (performance.now() < nextTurn) {
    await new Promise((resolve) => setTimeout(resolve, nextTurn - performance.now()));
  }
}

/**
 * Send a picture once; not by `fetch`, which cannot tell how much has been sent.
 *
 * @returns {Promise<XMLHttpRequest>}  ended: with a status, or without one where no answer came
 */
function send(body, key, { signal, onProgress }) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${SERVICE}?explain=1`);
    if (key) request.setRequestHeader("X-API-Key", headerOf(key));
    request.upload.onprogress = ({ loaded, total }) => total && onProgress?.(loaded / total);
    request.onloadend = () => resolve(request);
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** Return for how many seconds a busy service wants to be left alone. */
function wait(request) {
  const said = parseFloat(request.getResponseHeader("Retry-After"));
  // Nothing may be said, or a date, which is not what those say who are busy for a moment.
  return said >= 0 ? said : WAIT_SECONDS;
}

/** @returns {Outcome} */
function outcome({ status, responseText }) {
  if (!status) return { problem: NO_ANSWER };
  try {
    const document = JSON.parse(responseText);
    return status === 200 ? { answer: document } : { problem: document };
  } catch {
    // A proxy's page, most likely.
    const code = BUSY.includes(status) ? "busy" : NO_ANSWER.code;
    const detail = `The answer was no JSON, status ${status}.`;
    return { problem: { ...NO_ANSWER, status, code, detail } };
  }
}

/**
 * Keeps asking about something that changes, and shows nothing that has been overtaken.
 *
 * While it changes one request at a time is under way, so a slow line is not flooded; the last
 * state is asked about as soon as may be, and what was under way then is dropped.
 */
export class Live {
  #describe;
  #show;
  #showWaiting;
  #underWay = null;
  #isWaiting = false;
  #hasChanged = false;

  /**
   * @param {() => string} describe  returns the body that asks about the present state
   * @param {(outcome: Outcome) => void} show
   * @param {(why: string) => void} showWaiting  called before it is sent again
   */
  constructor(describe, show, showWaiting) {
    this.#describe = describe;
    this.#show = show;
    this.#showWaiting = showWaiting;
  }

  /** Ask when the line is free. */
  askSoon() {
    if (this.#underWay) this.#hasChanged = true;
    else this.askNow();
  }

  /** Ask, and forget what was asked before. */
  async askNow() {
    // What waits is described when it is sent again: to ask anew would be not to wait.
    if (this.#isWaiting) return;
    this.drop();
    const controller = new AbortController();
    this.#underWay = controller;
    const newest = () => {
      this.#isWaiting = false;
      this.#hasChanged = false;
      return this.#describe();
    };
    const onWait = (why) => {
      this.#isWaiting = true;
      this.#showWaiting(why);
    };
    const outcome = await ask(newest, { signal: controller.signal, onWait });
    // Only the newest question may show its answer.
    if (this.#underWay !== controller) return;
    this.#underWay = null;
    this.#show(outcome);
    if (this.#hasChanged) this.askNow();
  }

  /** Show no answer to anything that has been asked. */
  drop() {
    this.#underWay?.abort();
    this.#underWay = null;
    this.#isWaiting = false;
    this.#hasChanged = false;
  }
}
