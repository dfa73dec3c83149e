/** Wires the page together: drawings and uploads go to the service, answers to cards. */

import { Live, ask } from "./answer.js";
import { Pad } from "./pad.js";
import { isReadable, listenForPictures, preview } from "./upload.js";
import { Card } from "./view.js";
import { NOTHING, NOTHING_DRAWN, WAITING_FOR_TURN } from "./words.js";

// Long enough that a screen reader does not announce every intermediate stroke.
const ANNOUNCE_AFTER_MS = 600;

const element = (id) => document.getElementById(id);
const cards = element("cards");

/** Announcements not yet made to screen readers: the newest for each subject. */
const pending = new Map();
let timer;

/** Announce a sentence to screen readers, once nothing newer comes for a while. */
function announce(subject, sentence) {
  pending.set(subject, sentence);
  clearTimeout(timer);
  timer = setTimeout(() => {
    element("status").textContent = [...pending.values()].join(" ");
    pending.clear();
  }, ANNOUNCE_AFTER_MS);
}

/** @param {import("./answer.js").Outcome} outcome */
function show(card, { answer, problem }, nothing) {
  if (answer) card.showAnswer(answer, nothing);
  else card.showProblem(problem);
}

function add(card) {
  cards.prepend(card.element);
  element("waiting").hidden = true;
}

function remove(card) {
  card.element.remove();
  pending.delete(card);
  element("waiting").hidden = cards.childElementCount > 0;
}

/** Remove a card for the user, and move the focus to the heading above the cards. */
function dismiss(card) {
  remove(card);
  element("answers-title").focus();
}

/** Connect the pad to its tools and to its card, which follows the drawing. */
function setUpDrawing() {
  const pad = new Pad(element("pad"));
  const card = new Card("Your drawing", "drawing.png", {
    onRemove: () => {
      pad.clear();
      element("pad").focus();
    },
    onAgain: () => live.askNow(),
  });
  let picture;
  card.element.classList.add("is-live");
  const showCard = () => {
    if (!card.element.isConnected) add(card);
    card.showPicture(picture);
  };
  /** Until the first answer, which may take long if a sleeping host has to start. */
  const showReading = () => {
    picture = pad.picture();
    showCard();
    card.showProgress(1);
  };
  const live = new Live(
    () => {
      picture = pad.picture();
      // toBlob would wait until the browser is idle.
      return JSON.stringify({ image: picture.toDataURL() });
    },
    (outcome) => {
      showCard();
      show(card, outcome, NOTHING_DRAWN);
      announce(card, card.sentence);
    },
    (why) => {
      showCard();
      card.showWaiting(why);
      announce(card, why);
    },
  );

  const refresh = () => {
    element("undo").disabled = !pad.canUndo;
    element("clear").disabled = pad.isEmpty;
    element("pad").parentElement.classList.toggle("is-drawn-on", !pad.isEmpty);
    // Pictures may have been added meanwhile: move the drawing's card back to the top.
    const isBelow = card.element.isConnected && card.element !== cards.firstElementChild;
    if (isBelow) add(card);
  };
  pad.addEventListener("stroke", () => {
    refresh();
    live.askSoon();
  });
  pad.addEventListener("change", () => {
    refresh();
    if (!pad.isEmpty) {
      live.askNow();
      if (!card.element.isConnected) showReading();
      return;
    }
    live.drop();
    remove(card);
  });
  setUpTools(pad);
}

function setUpTools(pad) {
  const choose = (erases) => {
    pad.erases = erases;
    element("pen").setAttribute("aria-pressed", !erases);
    element("eraser").setAttribute("aria-pressed", erases);
  };
  element("pen").addEventListener("click", () => choose(false));
  element("eraser").addEventListener("click", () => choose(true));
  element("width").addEventListener("input", ({ target }) => {
    pad.width = target.valueAsNumber;
  });
  element("undo").addEventListener("click", () => pad.undo());
  element("clear").addEventListener("click", () => pad.clear());
  element("pad").addEventListener("keydown", (event) => {
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) pad.undo();
    else if (event.key === "Delete" || event.key === "Backspace") pad.clear();
    else return;
    event.preventDefault();
  });
}

/** Read files one after another, each on its own card, the first on top. */
function readFiles(files) {
  const jobs = files.map((file) => {
    const job = { file, card: null, removal: new AbortController() };
    job.card = new Card(file.name, file.name, {
      onRemove: () => {
        job.removal.abort();
        dismiss(job.card);
      },
      onAgain: () => readInRow([job]),
    });
    job.card.showWaiting(WAITING_FOR_TURN);
    return job;
  });
  for (const { card } of [...jobs].reverse()) add(card);
  // On a phone the answers are below the fold.
  jobs[0]?.card.element.scrollIntoView({ block: "nearest" });
  readInRow(jobs);
}

/** Say that what was pasted or dropped is not a picture; the text itself is sent nowhere. */
function refuseText() {
  const card = new Card("Text", "picture.png", { onRemove: () => dismiss(card) });
  card.showProblem({ code: "text" });
  add(card);
  announce(card, card.sentence);
}

/** Read files in sequence: on a slow connection the first answer comes as soon as possible. */
async function readInRow(jobs) {
  for (const job of jobs) await readFile(job);
  // A card that is being retried is announced when that is answered.
  const isDone = ({ element, isSending }) => element.isConnected && !isSending;
  const done = jobs.map(({ card }) => card).filter(isDone);
  // All at once at the end: each announcement replaces the last.
  if (done.length) announce(jobs, sentenceOf(done));
}

/** Return the announcement for some cards. */
function sentenceOf(cards) {
  if (cards.length === 1) return cards[0].sentence;
  return [`${cards.length} pictures.`, ...cards.map((card) => card.line)].join(" ");
}

async function readFile({ file, card, removal: { signal } }) {
  if (signal.aborted) return;
  card.showProgress(0);
  card.showPicture(await preview(file));
  if (!(await isReadable(file))) {
    card.showProblem({ code: "unreadable_file" });
    return;
  }
  const outcome = await ask(() => file, {
    signal,
    onProgress: (sent) => card.showProgress(sent),
    onWait: (why) => card.showWaiting(why),
  });
  if (outcome) show(card, outcome, NOTHING);
}

setUpDrawing();
listenForPictures(readFiles, refuseText);
document.documentElement.classList.add("has-script");
