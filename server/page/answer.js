/** Requests to the service: one per uploaded picture, and a stream of them for a live drawing. */

import { currentKey, headerOf, newKey } from "./key.js";
import { WAITING_FOR_KEY, WAITING_FOR_SERVICE } from "./words.js";

export const SERVICE = new URL("recognize.json", document.baseURI).href;

/**
 * @typedef {object} Digit  one recognized digit
 * @property {number} digit  0 to 9
 * @property {number} confidence  0 to 1
 * @property {number[]} probabilities  of the ten digits, each 0 to 1
 * @property {[number, number, number, number]} box  x, y, width, height in pixels of the picture
 * @property {string} crop  data: URI of the 28 x 28 pixels that the network saw
 *
 * @typedef {object} Answer
 * @property {string} number  rows separated by newlines; empty if there is no digit
 * @property {number} confidence  0 to 1
 * @property {Digit[]} digits  in reading order
 * @property {{width: number, height: number}} image  size of the upright picture in pixels
 *
 * @typedef {{status: number, code: string, title: string, detail: string}} Problem
 * @typedef {{answer?: Answer, problem?: Problem}} Outcome  has exactly one of the two
 */

/** Stands in for a problem document when the service sent none. */
const NO_ANSWER = {
  status: 0,
  code: "no_answer",
  title: "No answer",
  detail: "The service could not be reached, or closed the connection.",
};

/**
 * Minimum interval between the starts of requests: even continuous drawing stays well below the
 * 10 requests a second per address that the proxies configured in deploy/ allow.
 */
const PACE_MS = 200;

/** The most attempts for a request while the service, or a proxy in front of it, is busy. */
const TRIES = 4;
const BUSY = [429, 503];
/** The wait before a retry if there is no Retry-After. */
const WAIT_SECONDS = 1;
/** For a longer wait the user decides whether to retry. */
const LONGEST_WAIT_SECONDS = 10;

/** When the next request may start, on the clock of `performance.now()`. */
let nextTurn = 0;

/**
 * Send a picture when its turn comes, and again if the service is busy or needs a key.
 *
 * @param {() => Blob | string} describe  returns the body, called just before each attempt: a
 *     picture file, or JSON with a data: URI
 * @param {object} options
 * @param {AbortSignal} [options.signal]
 * @param {(sent: number) => void} [options.onProgress]  gets the fraction sent, 0 to 1
 * @param {(why: string) => void} [options.onWait]  called before each retry
 * @returns {Promise<Outcome | null>}  null if aborted
 */
export async function ask(describe, options = {}) {
  let tries = 0;
  for (;;) {
    await turn();
    if (options.signal?.aborted) return null;
    const key = currentKey();
    const sending = send(describe(), key, options);
    // Counted from the send: how long `describe` takes varies.
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
    // Only retries of a busy service are limited: users may enter any number of keys.
    tries += 1;
    const seconds = wait(request);
    if (tries === TRIES || seconds > LONGEST_WAIT_SECONDS) return result;
    options.onWait?.(WAITING_FOR_SERVICE);
    await pause(seconds, options.signal);
  }
}

/** Wait for some seconds, or until the signal fires. */
function pause(seconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", resolve, { once: true });
  });
}

/** Wait for the next turn; loops because another caller may have taken it meanwhile. */
async function turn() {
  while (performance.now() < nextTurn) {
    await new Promise((resolve) => setTimeout(resolve, nextTurn - performance.now()));
  }
}

/**
 * Send a picture once. Not with `fetch`, which reports no upload progress.
 *
 * @returns {Promise<XMLHttpRequest>}  finished; its status is 0 if there was no answer
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

/** Return how many seconds to wait before retrying a busy service. */
function wait(request) {
  const seconds = parseFloat(request.getResponseHeader("Retry-After"));
  // NaN if the header is missing or a date, which nobody sends for a short wait.
  return seconds >= 0 ? seconds : WAIT_SECONDS;
}

/** @returns {Outcome} */
function outcome({ status, responseText }) {
  if (!status) return { problem: NO_ANSWER };
  try {
    const document = JSON.parse(responseText);
    return status === 200 ? { answer: document } : { problem: document };
  } catch {
    // Most likely a proxy's error page.
    const code = BUSY.includes(status) ? "busy" : NO_ANSWER.code;
    const detail = `The answer was not JSON (status ${status}).`;
    return { problem: { ...NO_ANSWER, status, code, detail } };
  }
}

/**
 * Sends requests for something that keeps changing, and never shows a stale answer.
 *
 * While it changes, only one request is in flight, so a slow connection is not flooded. The final
 * state is sent as soon as possible, aborting the request in flight.
 */
export class Live {
  #describe;
  #show;
  #showWaiting;
  #inFlight = null;
  #isWaiting = false;
  #hasChanged = false;

  /**
   * @param {() => string} describe  returns the request body for the current state
   * @param {(outcome: Outcome) => void} show
   * @param {(why: string) => void} showWaiting  called before each retry
   */
  constructor(describe, show, showWaiting) {
    this.#describe = describe;
    this.#show = show;
    this.#showWaiting = showWaiting;
  }

  /** Send the current state once no request is in flight. */
  askSoon() {
    if (this.#inFlight) this.#hasChanged = true;
    else this.askNow();
  }

  /** Send the current state, aborting any request in flight. */
  async askNow() {
    // A retry sends the newest state anyway; a new request would bypass the wait.
    if (this.#isWaiting) return;
    this.drop();
    const controller = new AbortController();
    this.#inFlight = controller;
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
    // Ignore the answer to a request that has been superseded.
    if (this.#inFlight !== controller) return;
    this.#inFlight = null;
    this.#show(outcome);
    if (this.#hasChanged) this.askNow();
  }

  /** Abort the request in flight, and forget changes not yet sent. */
  drop() {
    this.#inFlight?.abort();
    this.#inFlight = null;
    this.#isWaiting = false;
    this.#hasChanged = false;
  }
}
