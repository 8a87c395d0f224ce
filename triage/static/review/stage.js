// The picture: as large as the room allows; zoom and pan. Tiny ones are shown in whole, crisp pixels and at most sixteen
// times their size: enlarged further, the eye sees squares and no longer the thing.

const TINY = 128;
const TINY_MOST = 16;
const STEP = 1.25;
const MOST = 16;
const PAN_PX = 80;

export class Stage {
  #frame;
  #picture = null;
  #zoom = 1;

  constructor(frame) {
    this.#frame = frame;
    new ResizeObserver(() => this.#lay()).observe(frame);
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.#drag(event));
  }

  /** Shows a decoded picture; resolves once it is on the screen, which in a hidden tab is once somebody looks. */
  async show(picture) {
    this.clear();
    this.#picture = picture;
    picture.alt = "The image to be judged";
    picture.classList.toggle("tiny", Math.max(picture.naturalWidth, picture.naturalHeight) <= TINY);
    this.#frame.replaceChildren(picture);
    this.#lay();
    await painted();
    await painted();
  }

  /** Says in words why there is no picture. */
  say(words) {
    this.clear();
    const line = document.createElement("p");
    line.textContent = words;
    this.#frame.replaceChildren(line);
  }

  clear() {
    if (this.#picture) URL.revokeObjectURL(this.#picture.src);
    this.#picture = null;
    this.#zoom = 1;
    this.#frame.replaceChildren();
  }

  /** One step in (+1) or out (-1), around the middle of what is seen or around a point of the frame. */
  zoom(direction, x = this.#frame.clientWidth / 2, y = this.#frame.clientHeight / 2) {
    if (!this.#picture) return;
    const next = Math.min(MOST, Math.max(1, this.#zoom * STEP ** direction));
    const ratio = next / this.#zoom;
    const { scrollLeft, scrollTop } = this.#frame;
    this.#zoom = next < 1.01 ? 1 : next;
    this.#lay();
    this.#frame.scrollTo((scrollLeft + x) * ratio - x, (scrollTop + y) * ratio - y);
  }

  pan([x, y]) {
    this.#frame.scrollBy(x * PAN_PX, y * PAN_PX);
  }

  #lay() {
    const picture = this.#picture;
    if (!picture) return;
    const { naturalWidth: width, naturalHeight: height } = picture;
    let scale = Math.min(this.#frame.clientWidth / width, this.#frame.clientHeight / height);
    if (picture.classList.contains("tiny")) scale = Math.min(TINY_MOST, Math.max(1, Math.floor(scale)));
    scale *= this.#zoom;
    picture.style.width = `${Math.round(width * scale)}px`;
    picture.style.height = `${Math.round(height * scale)}px`;
    this.#frame.classList.toggle("zoomed", this.#zoom > 1);
  }

  #wheel(event) {
    event.preventDefault();
    const box = this.#frame.getBoundingClientRect();
    if (event.deltaY) this.zoom(event.deltaY < 0 ? 1 : -1, event.clientX - box.left, event.clientY - box.top);
  }

  #drag(start) {
    if (start.pointerType === "touch" || start.button !== 0) return; // fingers scroll by themselves
    const frame = this.#frame;
    const { scrollLeft, scrollTop } = frame;
    frame.setPointerCapture(start.pointerId);
    const move = (event) =>
      frame.scrollTo(scrollLeft + start.clientX - event.clientX, scrollTop + start.clientY - event.clientY);
    frame.addEventListener("pointermove", move);
    frame.addEventListener("lostpointercapture", () => frame.removeEventListener("pointermove", move), { once: true });
  }
}

function painted() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}
