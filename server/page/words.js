/** What is said to people: confidence in words, and what went wrong with what to do about it. */

/** Return a probability for reading; never a round 100%, which nothing here is. */
export function percent(chance) {
  if (chance > 0.999) return "> 99.9%";
  if (chance < 0.001) return "< 0.1%";
  const digits = chance > 0.99 || chance < 0.01 ? 1 : 0;
  return `${(Math.floor(chance * 1000) / 10).toFixed(digits)}%`;
}

/** Return how sure an answer is. */
export function sureness(confidence) {
  if (confidence < 0.5) return `${percent(confidence)} sure, so little more than a guess`;
  if (confidence < 0.9) return `${percent(confidence)} sure, so better check it yourself`;
  return `${percent(confidence)} sure`;
}

export const NOTHING = {
  title: "No digit here",
  advice:
    "If there is one, try plain paper, a thick dark pen and no shadow; the digits should fill a good part of the picture.",
};

export const NOTHING_DRAWN = {
  title: "No digit yet",
  advice: "Keep drawing; large and in the middle is read best.",
};

/** On a picture that will be sent, or sent again. */
export const WAITING_FOR_TURN = "Waiting for its turn";
export const WAITING_FOR_KEY = "Waiting for the key";
export const WAITING_FOR_SERVICE = "Waiting, as the service is busy";

/** Beside the field for the key. */
export const KEY_WANTED = "This service needs a key. It is kept in this tab until you close it.";
export const KEY_REFUSED = "That key is not accepted. Try another.";

/** By the `code` of a problem document; `again` where the same picture may do better later. */
const TROUBLES = {
  unsupported_format: {
    title: "This is not a picture that can be read",
    advice: "PNG, JPEG, WebP, GIF and BMP are. Save it as one of these, or take a screenshot of it.",
  },
  corrupt_image: {
    title: "This picture is damaged",
    advice: "Part of the file is missing or broken. Save or send it again.",
  },
  too_many_pixels: {
    title: "This picture is too large",
    advice: "Make it smaller: 2000 pixels from side to side is plenty.",
  },
  body_too_large: {
    title: "This file is too large",
    advice: "Make the picture smaller, or save it as a JPEG.",
  },
  no_picture: {
    title: "This file is empty",
    advice: "There is nothing in it to read. Choose another.",
  },
  unreadable_file: {
    title: "This file cannot be opened",
    advice: "It may be a folder, or have been moved or changed. Choose the pictures themselves.",
  },
  text: {
    title: "This is text, not a picture",
    advice: "Copy the picture itself, not its address, or save it and choose its file.",
  },
  too_slow: {
    title: "That took too long to arrive",
    advice: "The connection is slow or the file large. A smaller picture will get through.",
    again: true,
  },
  busy: {
    title: "The service is busy",
    advice: "Many pictures are waiting to be read. Try again in a moment.",
    again: true,
  },
  not_ready: {
    title: "The service is starting or stopping",
    advice: "Try again in a moment.",
    again: true,
  },
  internal_error: {
    title: "The service failed",
    advice: "The fault is not your picture's. Trying again may help.",
    again: true,
  },
  no_answer: {
    title: "No answer came",
    advice: "The connection or the service is down, or the file is too large. Check and try again.",
    again: true,
  },
};

/**
 * Return what to say of a problem.
 *
 * @param {import("./answer.js").Problem} problem
 * @returns {{title: string, advice: string, again?: boolean}}
 */
export function trouble({ code, title, detail }) {
  return TROUBLES[code] ?? { title: title ?? "That did not work", advice: detail ?? "", again: true };
}
