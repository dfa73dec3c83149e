/** Pictures that users add: chosen, photographed, dropped, pasted, or one of the samples. */

/**
 * Call back with the files that users add, by whatever means.
 *
 * @param {(files: File[]) => void} onFiles
 * @param {() => void} onText  called if they paste or drop text instead, such as a URL
 */
export function listenForPictures(onFiles, onText) {
  const take = ({ files, types }, isForField = false) => {
    if (files.length) onFiles([...files]);
    else if (types.includes("text/plain") && !isForField) onText();
  };
  for (const id of ["files", "camera"]) {
    const input = document.getElementById(id);
    input.addEventListener("change", () => {
      onFiles([...input.files]);
      input.value = ""; // so that choosing the same file again is a change
    });
  }
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", async () => onFiles([await sample(button.dataset.sample)]));
  }
  addEventListener("paste", ({ target, clipboardData }) => {
    take(clipboardData, Boolean(target.closest("input")));
  });
  listenForDrops(take);
}

/** @returns {Promise<File>}  an empty file if the sample cannot be fetched */
async function sample(address) {
  const name = address.split("/").pop();
  try {
    const response = await fetch(address);
    return new File(response.ok ? [await response.blob()] : [], name);
  } catch {
    return new File([], name);
  }
}

function listenForDrops(take) {
  const { classList } = document.documentElement;
  addEventListener("dragover", (event) => {
    // Without this the browser would replace the page with the picture.
    event.preventDefault();
    classList.toggle("is-dragging", event.dataTransfer.types.includes("Files"));
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) classList.remove("is-dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    classList.remove("is-dragging");
    take(event.dataTransfer);
  });
}

/** Return whether a file can be read: it is not a folder, and was not moved or changed since. */
export async function isReadable(file) {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

/**
 * Return a preview of a picture, upright as the service sees it, or null if it cannot be decoded.
 *
 * On a canvas, which needs no blob: URL: the Content-Security-Policy forbids those.
 *
 * @param {Blob} file
 * @returns {Promise<HTMLCanvasElement | null>}  at most `longest` pixels on a side
 */
export async function preview(file, longest = 1200) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return canvas;
  } catch {
    return null;
  }
}
