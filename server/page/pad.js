/** The drawing pad: turns pointer strokes into ink on the screen and a picture to send. */

/** The drawn page in pixels; all stroke coordinates and widths are in these units. */
export const PAGE = { width: 400, height: 320 };

const ERASER_BUTTON = 32; // PointerEvent.buttons for a pen's eraser end
const ERASER_SCALE = 2.2; // erasing needs a broader tip than writing

/**
 * @typedef {{x: number, y: number, width: number}} Dot  a point on the page, and the width there
 * @typedef {{erases: boolean, dots: Dot[]}} Stroke  one pointer's path from down to up
 */

/** A canvas that strokes are painted on, with its own scale and ink color. */
class Surface {
  /**
   * @param {HTMLCanvasElement | OffscreenCanvas} canvas
   * @param {CanvasRenderingContext2DSettings} options
   */
  constructor(canvas, options = {}) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", options);
  }

  /** Set the number of canvas pixels per page pixel; this also clears the canvas. */
  resize(scale) {
    this.canvas.width = Math.round(PAGE.width * scale);
    this.canvas.height = Math.round(PAGE.height * scale);
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
  }

  wipe() {
    this.context.clearRect(0, 0, PAGE.width, PAGE.height);
  }

  /**
   * Paint a stroke, starting at one of its dots.
   *
   * Curves run through the midpoints between dots, which smooths the corners of coarse pointer
   * events; each piece has the width of its own dot.
   */
  paint({ erases, dots }, ink, from = 0) {
    const { context } = this;
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.strokeStyle = ink;
    context.lineCap = "round";
    context.lineJoin = "round";
    for (let k = from; k < dots.length; k += 1) {
      const dot = dots[k];
      const start = k > 1 ? middle(dots[k - 2], dots[k - 1]) : dots[0];
      const bend = dots[Math.max(0, k - 1)];
      const end = k > 0 ? middle(bend, dot) : dot;
      context.lineWidth = dot.width;
      context.beginPath();
      context.moveTo(start.x, start.y);
      context.quadraticCurveTo(bend.x, bend.y, end.x, end.y);
      context.stroke();
    }
  }
}

function middle(one, other) {
  return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
}

/**
 * A canvas that can be drawn on.
 *
 * Fires `stroke` while drawing, and `change` after a stroke, undo or clear.
 */
export class Pad extends EventTarget {
  /** @type {Stroke[]} */
  #strokes = [];
  /** @type {Stroke[][]}  the undo history: the strokes before each action */
  #past = [];
  /** @type {Stroke | null} */
  #current = null;
  #pointer = null;
  #screen;
  // Read back after every few moves, so not kept on the GPU, where reading is slow.
  #page = new Surface(document.createElement("canvas"), { willReadFrequently: true });

  erases = false;
  width = 16;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    super();
    this.#screen = new Surface(canvas);
    this.#page.resize(1);
    new ResizeObserver(() => this.#fit()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#fit());
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#go(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.#end(event));
    }
  }

  /** Whether there is nothing to read. */
  get isEmpty() {
    return !this.#strokes.some((stroke) => !stroke.erases);
  }

  /** Whether there is an action to undo. */
  get canUndo() {
    return this.#past.length > 0;
  }

  /** Undo the last stroke or clear. */
  undo() {
    this.#keep(this.#past.pop() ?? []);
  }

  clear() {
    if (this.#strokes.length) this.#past.push(this.#strokes);
    this.#keep([]);
  }

  /** Return a canvas of PAGE's size with the drawing, black on white. */
  picture() {
    const copy = document.createElement("canvas");
    copy.width = PAGE.width;
    copy.height = PAGE.height;
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, PAGE.width, PAGE.height);
    context.drawImage(this.#page.canvas, 0, 0);
    return copy;
  }

  /** Replace the strokes. */
  #keep(strokes) {
    // Ends a stroke in progress: its pointer would go on painting ink of no stroke.
    this.#lift();
    this.#strokes = strokes;
    this.#repaint();
    this.dispatchEvent(new Event("change"));
  }

  #begin(event) {
    if (this.#pointer !== null || event.button > 0 && !(event.buttons & ERASER_BUTTON)) return;
    this.#pointer = event.pointerId;
    // Keeps the stroke going when the pointer leaves the pad.
    this.#screen.canvas.setPointerCapture(event.pointerId);
    const erases = this.erases || Boolean(event.buttons & ERASER_BUTTON);
    this.#current = { erases, dots: [this.#dot(event, erases)] };
    this.#past.push(this.#strokes);
    this.#strokes = [...this.#strokes, this.#current];
    this.#paintFrom(0);
  }

  #go(event) {
    if (event.pointerId !== this.#pointer) return;
    const { dots, erases } = this.#current;
    const painted = dots.length;
    // One event may stand for several pointer positions since the last frame.
    const places = event.getCoalescedEvents?.() ?? [];
    for (const place of places.length ? places : [event]) dots.push(this.#dot(place, erases));
    this.#paintFrom(painted);
  }

  #end(event) {
    if (event.pointerId !== this.#pointer) return;
    // Curves end at the midpoint of the last two dots; repeating the last completes the stroke.
    const { dots } = this.#current;
    dots.push(dots.at(-1));
    this.#paintFrom(dots.length - 1);
    this.#lift();
    this.dispatchEvent(new Event("change"));
  }

  /** End the stroke in progress. */
  #lift() {
    this.#pointer = null;
    this.#current = null;
  }

  /** @returns {Dot} */
  #dot(event, erases) {
    const frame = this.#screen.canvas.getBoundingClientRect();
    // Mice and most fingers report a constant pressure; a pen's scales the width by 0.5 to 1.5.
    const press = event.pointerType === "pen" ? 0.5 + event.pressure : 1;
    return {
      x: ((event.clientX - frame.left) / frame.width) * PAGE.width,
      y: ((event.clientY - frame.top) / frame.height) * PAGE.height,
      width: this.width * press * (erases ? ERASER_SCALE : 1),
    };
  }

  #paintFrom(dot) {
    this.#screen.paint(this.#current, this.#ink(), dot);
    this.#page.paint(this.#current, "#000", dot);
    this.dispatchEvent(new Event("stroke"));
  }

  #repaint() {
    this.#screen.wipe();
    this.#page.wipe();
    for (const stroke of this.#strokes) {
      this.#screen.paint(stroke, this.#ink());
      this.#page.paint(stroke, "#000");
    }
  }

  /** Match the on-screen canvas to its size in device pixels. */
  #fit() {
    const { clientWidth } = this.#screen.canvas;
    if (clientWidth) this.#screen.resize((clientWidth / PAGE.width) * devicePixelRatio);
    this.#repaint();
  }

  /** Return the ink color: the text color that the style sheet gives the canvas. */
  #ink() {
    return getComputedStyle(this.#screen.canvas).color;
  }
}
