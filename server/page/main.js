/** The page put together: what is drawn or brought goes to the service, its answers to cards. */

import { Live, ask } from "./answer.js";
import { Pad } from "./pad.js";
import { isReadable, listenForPictures, preview } from "./upload.js";
import { Card } from "./view.js";
import { NOTHING, NOTHING_DRAWN, WAITING_FOR_TURN } from "./words.js";

// Long enough that a screen reader is not told of every stroke on the way.
const TELL_AFTER_MS = 600;

const element = (id) => document.getElementById(id);
const cards = element("cards");

/** What those who listen have not been told: of each subject the newest. */
const untold = new Map();
let telling;

/** Tell those who listen, once there is nothing newer to tell. */
function tell(subject, sentence) {
  untold.set(subject, sentence);
  clearTimeout(telling);
  telling = setTimeout(() => {
    element("status").textContent = [...untold.values()].join(" ");
    untold.clear();
  }, TELL_AFTER_MS);
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
  untold.delete(card);
  element("waiting").hidden = cards.childElementCount > 0;
}

/** Remove a card at the wish of someone, who goes on from where the cards begin. */
function dismiss(card) {
  remove(card);
  element("answers-title").focus();
}

/** Connect the pad with its tools and its card, which follows the drawing. */
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
  /** While the first answer is due, which a host may have to be woken for. */
  const showReading = () => {
    picture = pad.picture();
    showCard();
    card.showProgress(1);
  };
  const live = new Live(
    () => {
      picture = pad.picture();
      // Not toBlob, which waits until the browser is idle.
      return JSON.stringify({ image: picture.toDataURL() });
    },
    (outcome) => {
      showCard();
      show(card, outcome, NOTHING_DRAWN);
      tell(card, card.sentence);
    },
    (why) => {
      showCard();
      card.showWaiting(why);
      tell(card, why);
    },
  );

  const refresh = () => {
    element("undo").disabled = !pad.canUndo;
    element("clear").disabled = pad.isEmpty;
    element("pad").parentElement.classList.toggle("is-drawn-on", !pad.isEmpty);
    // Pictures may have come meanwhile: what is drawn is answered above them.
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

/** Read files one after the other, each on its card, the first on top. */
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
  // On a phone the answers are below what is seen.
  jobs[0]?.card.element.scrollIntoView({ block: "nearest" });
  readInRow(jobs);
}

/** Say that what was pasted or dropped is no picture; the text itself goes nowhere. */
function refuseText() {
  const card = new Card("Text", "picture.png", { onRemove: () => dismiss(card) });
  card.showProblem({ code: "text" });
  add(card);
  tell(card, card.sentence);
}

/** In a row: on a slow line the first answer comes as soon as it can. */
async function readInRow(jobs) {
  for (const job of jobs) await readFile(job);
  // One that is being sent again is told of when it has that answer.
  const isToTell = ({ element, isSending }) => element.isConnected && !isSending;
  const left = jobs.map(({ card }) => card).filter(isToTell);
  // Of several all is told at the end: what is told replaces what was told before.
  if (left.length) tell(jobs, sentenceOf(left));
}

/** Return what is told of some cards. */
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
