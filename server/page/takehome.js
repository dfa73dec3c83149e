/** Code snippets that send the same request, ready to copy. */

import { SERVICE } from "./answer.js";
import { currentKey } from "./key.js";

/** Placeholder for the key, which is never shown. */
const KEY = "YOUR_KEY";

/**
 * Return the snippets for one picture.
 *
 * @param {string} name  of the picture's file
 * @param {object} reply  the answer or problem document
 * @returns {[string, string][]}  title and text of each
 */
export function snippetsFor(name, reply) {
  return [
    ["curl", curl(name)],
    ["Python", python(name)],
    ["JavaScript", javascript()],
    ["JSON", json(reply)],
  ];
}

function curl(name) {
  // Within single quotes only the closing quote is special to a shell.
  const quoted = `@${name}`.replaceAll("'", "'\\''");
  const key = currentKey() ? `-H 'X-API-Key: ${KEY}' ` : "";
  return `curl ${key}--data-binary '${quoted}' ${SERVICE}`;
}

function python(name) {
  // A JSON string is also a Python string, unless it escapes characters beyond U+FFFF as \u.
  const key = currentKey() ? `, {"X-API-Key": "${KEY}"}` : "";
  return `import json
import urllib.request

with open(${JSON.stringify(name)}, "rb") as picture:
    request = urllib.request.Request("${SERVICE}", picture.read()${key})
with urllib.request.urlopen(request) as response:
    answer = json.load(response)
print(answer["number"], answer["confidence"])`;
}

function javascript() {
  const key = currentKey() ? `, headers: { "X-API-Key": "${KEY}" }` : "";
  return `// file: from an <input type="file">, or any Blob
const response = await fetch("${SERVICE}", { method: "POST", body: file${key} });
const answer = await response.json();
console.log(response.ok ? answer.number : answer.detail);`;
}

/** Return the reply as the snippets get it: without the crops that only `?explain=1` adds. */
function json(reply) {
  const text = JSON.stringify(reply, (key, value) => (key === "crop" ? undefined : value), 2);
  // Lists of numbers read better on one line.
  return text.replace(/\[[^[\]{}]*\]/g, (list) =>
    list.replace(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]"),
  );
}

/** Copy an element's text to the clipboard; return whether that worked. */
export async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // Browsers restrict the clipboard API to HTTPS and localhost; execCommand works elsewhere.
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
