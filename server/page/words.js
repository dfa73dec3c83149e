/** The texts that users read: confidence in words, and problems with advice. */

/** Return a probability as a percentage; never 100%, as nothing here is certain. */
export function percent(chance) {
  if (chance > 0.999) return "> 99.9%";
  if (chance < 0.001) return "< 0.1%";
  const digits = chance > 0.99 || chance < 0.01 ? 1 : 0;
  return `${(Math.floor(chance * 1000) / 10).toFixed(digits)}%`;
}

/** Return an answer's confidence in words. */
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

/** Shown on a picture that will be sent, or sent again. */
export const WAITING_FOR_TURN = "Waiting for its turn";
export const WAITING_FOR_KEY = "Waiting for the key";
export const WAITING_FOR_SERVICE = "Waiting, as the service is busy";

/** Shown beside the key field. */
export const KEY_WANTED =
  "This service needs a key. It is stored in this tab only, until you close it.";
export const KEY_REFUSED = "That key is not accepted. Try another.";

/** By the `code` of a problem document; `again` offers a retry. */
const TROUBLES = {
  unsupported_format: {
    title: "This is not a picture that can be read",
    advice: "Save it as PNG, JPEG, WebP, GIF or BMP, or take a screenshot of it.",
  },
  corrupt_image: {
    title: "This picture is damaged",
    advice: "Part of the file is missing or broken. Save or send it again.",
  },
  too_many_pixels: {
    title: "This picture is too large",
    advice: "Make it smaller: a width of 2000 pixels is plenty.",
  },
  body_too_large: {
    title: "This file is too large",
    advice: "Make the picture smaller, or save it as a JPEG.",
  },
  no_picture: {
    title: "This file is empty",
    advice: "Choose another one.",
  },
  unreadable_file: {
    title: "This file cannot be opened",
    advice: "It may be a folder, or was moved or changed meanwhile. Choose the pictures themselves.",
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
    advice: "This is not your picture's fault. Trying again may help.",
    again: true,
  },
  no_answer: {
    title: "No answer",
    advice: "The connection or the service is down, or the file is too large. Check and try again.",
    again: true,
  },
};

/**
 * Return the text for a problem.
 *
 * @param {import("./answer.js").Problem} problem
 * @returns {{title: string, advice: string, again?: boolean}}
 */
export function trouble({ code, title, detail }) {
  return TROUBLES[code] ?? { title: title ?? "That did not work", advice: detail ?? "", again: true };
}
