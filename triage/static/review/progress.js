// How much waits, for how long, and how much this reviewer has done since the tab was opened.

import { age } from "./ages.js";
import { Refused, Away } from "./api.js";
import { hooks } from "./hooks.js";
import { session } from "./session.js";

const EVERY_MS = 5_000;

export class Progress {
  #api;
  #desk;
  #queue = { waiting: 0, oldest_age_seconds: 0 };

  constructor(api, desk) {
    this.#api = api;
    this.#desk = desk;
    setInterval(() => document.hidden || this.refresh(), EVERY_MS);
    this.show();
  }

  async refresh() {
    try {
      this.#queue = await this.#api.queue(this.#desk.queue);
    } catch (error) {
      if (error instanceof Away || error instanceof Refused) return; // the desk's own calls say so, once
      throw error;
    }
    this.show();
  }

  count() {
    session.answered += 1;
    this.refresh();
  }

  show() {
    const waiting = this.#queue.waiting + this.#desk.ahead; // what is fetched ahead is still to be done
    hooks.waiting.textContent = waiting.toLocaleString("en");
    hooks.oldest.textContent = this.#queue.waiting ? age(this.#queue.oldest_age_seconds) : "–";
    hooks.answered.textContent = session.answered.toLocaleString("en");
    document.title = waiting ? `(${waiting}) Review · Second Reader` : "Review · Second Reader";
  }
}
