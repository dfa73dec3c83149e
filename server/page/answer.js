/** Asking the service: one picture to its answer, and a drawing that changes to its newest answer. */

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
 * Have a picture read.
 *
 * Not `fetch`, which cannot tell how much has been sent.
 *
 * @param {Blob | string} body  a picture's file, or JSON with a data: URI
 * @param {{signal?: AbortSignal, onProgress?: (sent: number) => void}} options
 *     onProgress gets the part that has been sent, 0 to 1
 * @returns {Promise<Outcome>}  pending forever once the signal has fired
 */
export function ask(body, { signal, onProgress } = {}) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${SERVICE}?explain=1`);
    request.upload.onprogress = ({ loaded, total }) => total && onProgress?.(loaded / total);
    request.onload = () => resolve(outcome(request));
    request.onerror = () => resolve({ problem: NO_ANSWER });
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** @returns {Outcome} */
function outcome({ status, responseText }) {
  try {
    const document = JSON.parse(responseText);
    return status === 200 ? { answer: document } : { problem: document };
  } catch {
    // A proxy's page, most likely.
    return { problem: { ...NO_ANSWER, status, detail: `The answer was no JSON, status ${status}.` } };
  }
}

/**
 * Keeps asking about something that changes, and shows nothing that has been overtaken.
 *
 * While it changes one request at a time is under way, so a slow line is not flooded; the last
 * state is asked about at once, and what was under way then is dropped.
 */
export class Live {
  #describe;
  #show;
  #underWay = null;
  #hasChanged = false;

  /**
   * @param {() => string} describe  returns the body that asks about the present state
   * @param {(outcome: Outcome) => void} show
   */
  constructor(describe, show) {
    this.#describe = describe;
    this.#show = show;
  }

  /** Ask when the line is free. */
  askSoon() {
    if (this.#underWay) this.#hasChanged = true;
    else this.askNow();
  }

  /** Ask, and forget what was asked before. */
  async askNow() {
    this.drop();
    const controller = new AbortController();
    this.#underWay = controller;
    const outcome = await ask(this.#describe(), { signal: controller.signal });
    // An abort can come after the last byte has: only the newest question may show its answer.
    if (this.#underWay !== controller) return;
    this.#underWay = null;
    this.#show(outcome);
    if (this.#hasChanged) this.askNow();
  }

  /** Show no answer to anything that has been asked. */
  drop() {
    this.#underWay?.abort();
    this.#underWay = null;
    this.#hasChanged = false;
  }
}
