// The answer that nobody has been told of yet: for as long as the service holds it, the page offers to take it back.

import { hooks } from "./hooks.js";

const TICK_MS = 250;

export class Undo {
  #held = null;
  #timer = 0;

  /** `answer`: what the service replied, with `held_until`; `task`: the item it is about; `said`: the answer in words. */
  offer(task, answer, said) {
    this.hide();
    const lasts = Date.parse(answer.held_until) - Date.parse(answer.at); // this computer's clock need not be the service's
    this.#held = { task, id: answer.id, revision: answer.revision, said, until: Date.now() + lasts };
    this.#timer = setInterval(() => this.#show(), TICK_MS);
    this.#show();
  }

  /** The answer, if it can still be taken back; it is not offered again. */
  take() {
    const held = this.#held;
    this.hide();
    return held;
  }

  hide() {
    clearInterval(this.#timer);
    this.#held = null;
    hooks.undoBar.hidden = true;
  }

  #show() {
    const seconds = Math.ceil((this.#held.until - Date.now()) / 1000);
    if (seconds <= 0) return this.hide();
    hooks.undoBar.hidden = false;
    hooks.undoSaid.textContent = `${this.#held.said} · told in ${seconds} s`;
  }
}
