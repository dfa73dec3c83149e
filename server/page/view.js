/** A picture's card: its answer, boxes over the picture, and a close-up of one digit. */

import { copy, snippetsFor } from "./takehome.js";
import { percent, sureness, trouble } from "./words.js";

/** Pictures up to this many pixels on a side are enlarged without smoothing. */
const TINY = 64;

/** Return a copy of the content of one of the page's templates. */
function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/**
 * A card in the list of answers.
 *
 * Its `data-state` is `sending`, `read`, `nothing` or `trouble`; the style sheet shows the
 * matching parts.
 */
export class Card {
  #chosen = 0;
  #name;

  /**
   * @param {string} title  of the card
   * @param {string} name  of the picture's file, for the code snippets
   * @param {{onRemove: () => void, onAgain?: () => void}} actions
   */
  constructor(title, name, { onRemove, onAgain }) {
    this.#name = name;
    this.element = fromTemplate("card");
    this.#part("name").textContent = title;
    this.element.querySelector("canvas").setAttribute("aria-label", title);
    this.#part("remove").setAttribute("aria-label", `Remove ${title}`);
    this.#part("remove").addEventListener("click", onRemove);
    this.#part("again").addEventListener("click", onAgain);
    this.#part("bars").append(...Array.from({ length: 10 }, () => fromTemplate("bar")));
  }

  /** @param {number} sent  the fraction of the picture that has been sent, 0 to 1 */
  showProgress(sent) {
    this.element.dataset.state = "sending";
    this.#part("sending-words").textContent =
      sent < 1 ? `Sending, ${Math.floor(100 * sent)}%` : "Reading";
    this.element.querySelector("progress").value = sent;
  }

  /** @param {string} why  the picture is not being read yet */
  showWaiting(why) {
    this.showProgress(0);
    this.#part("boxes").replaceChildren();
    this.#part("sending-words").textContent = why;
  }

  /** @param {HTMLCanvasElement | null} picture  to draw the boxes over, if there is one */
  showPicture(picture) {
    const canvas = this.element.querySelector("canvas");
    this.element.classList.toggle("has-picture", Boolean(picture));
    if (!picture) return;
    // Shown at its own size; small ones larger, tall ones smaller: see .picture in style.css.
    const { style, classList } = this.#part("picture");
    style.setProperty("--width", picture.width);
    style.setProperty("--ratio", picture.width / picture.height);
    classList.toggle("is-tiny", picture.width <= TINY && picture.height <= TINY);
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
  }

  /**
   * @param {import("./answer.js").Answer} answer
   * @param {{title: string, advice: string}} nothing  what to say if there is no digit
   */
  showAnswer(answer, nothing) {
    this.#showTakeHome(answer);
    this.#showBoxes(answer);
    if (!answer.digits.length) {
      this.#say("nothing", nothing);
      return;
    }
    this.element.dataset.state = "read";
    this.#part("number").textContent = answer.number;
    const rows = answer.number.split("\n");
    this.element.style.setProperty("--digits", Math.max(...rows.map((row) => row.length)));
    this.#part("confidence").textContent = sureness(answer.confidence);
    this.element.classList.toggle("is-unsure", answer.confidence < 0.5);
  }

  /** @param {import("./answer.js").Problem} problem */
  showProblem(problem) {
    this.#showTakeHome(problem);
    this.#part("boxes").replaceChildren();
    this.#say("trouble", trouble(problem));
  }

  /** Whether the answer is pending. */
  get isSending() {
    return this.element.dataset.state === "sending";
  }

  /** The card's content for screen readers. */
  get sentence() {
    const advice = this.element.dataset.state === "read" ? "" : `. ${this.#text("trouble-advice")}`;
    return `${this.#gist}${advice}`;
  }

  /** The same in short and with the card's name, for an announcement of several cards. */
  get line() {
    return `${this.#text("name")}: ${this.#gist}.`;
  }

  get #gist() {
    if (this.element.dataset.state !== "read") return this.#text("trouble-title");
    return `${this.#text("number")}, ${this.#text("confidence")}`;
  }

  #text(name) {
    return this.#part(name).textContent;
  }

  #part(name) {
    return this.element.querySelector(`.${name}`);
  }

  #say(state, { title, advice, again = false }) {
    this.element.dataset.state = state;
    this.#part("trouble-title").textContent = title;
    this.#part("trouble-advice").textContent = advice;
    this.#part("again").hidden = !again;
  }

  #showBoxes({ digits, image }) {
    if (!digits.length) {
      this.#part("boxes").replaceChildren();
      return;
    }
    // A drawing's card gets one answer after another: keep the chosen digit.
    this.#chosen = Math.min(this.#chosen, digits.length - 1);
    const buttons = digits.map((digit, k) => {
      const button = boxButton(digit, image);
      button.addEventListener("click", () => this.#choose(digits, k));
      return button;
    });
    this.#part("boxes").replaceChildren(...buttons);
    this.#choose(digits, this.#chosen);
  }

  #choose(digits, chosen) {
    this.#chosen = chosen;
    [...this.#part("boxes").children].forEach((button, k) => {
      button.setAttribute("aria-pressed", k === chosen);
    });
    const { digit, crop, probabilities } = digits[chosen];
    const picture = this.#part("crop").querySelector("img");
    picture.src = crop;
    picture.alt = `The ${digit} as the network saw it, 28 by 28 pixels`;
    [...this.#part("bars").children].forEach((bar, label) => {
      fillBar(bar, label, probabilities[label], label === digit);
    });
    const none = 1 - probabilities.reduce((sum, chance) => sum + chance, 0);
    this.#part("no-digit").textContent = `no digit at all: ${percent(Math.max(0, none))}`;
  }

  #showTakeHome(reply) {
    const snippets = snippetsFor(this.#name, reply).map(([title, text]) => snippet(title, text));
    this.#part("snippets").replaceChildren(...snippets);
  }
}

/** Return the button that frames a digit in its place in the picture. */
function boxButton({ digit, confidence, box: [x, y, width, height] }, image) {
  const button = fromTemplate("box");
  const [tagDigit, tagConfidence] = button.firstElementChild.children;
  tagDigit.textContent = digit;
  tagConfidence.textContent = `${Math.floor(confidence * 100)}%`;
  const { style } = button;
  style.left = `${(100 * x) / image.width}%`;
  style.top = `${(100 * y) / image.height}%`;
  style.width = `${(100 * width) / image.width}%`;
  style.height = `${(100 * height) / image.height}%`;
  return button;
}

function fillBar(bar, label, chance, isChosen) {
  bar.classList.toggle("is-answer", isChosen);
  bar.querySelector(".bar-digit").textContent = label;
  bar.querySelector(".bar-ink").style.width = `${100 * chance}%`;
  bar.querySelector(".bar-chance").textContent = percent(chance);
}

function snippet(title, text) {
  const element = fromTemplate("snippet");
  element.querySelector("h4").textContent = title;
  const code = element.querySelector("code");
  code.textContent = text;
  element.querySelector("pre").setAttribute("aria-label", `${title} for this picture`);
  const button = element.querySelector(".copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(code)) ? "Copied" : "Press Ctrl C";
  });
  return element;
}
