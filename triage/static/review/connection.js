// Whether the service answers, and the one way of trying again.

import { Away } from "./api.js";

const PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000];

export class Connection {
  #changed;
  #failing = new Set();

  /** `changed(why)` hears why nothing gets through, and null when it does again. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** The call's answer, however long the service is away; undefined once it is no longer wanted. Throws Refused. */
  async insist(call, wanted = () => true) {
    const me = Symbol("call");
    try {
      for (let attempt = 0; wanted(); attempt += 1) {
        try {
          return await call();
        } catch (error) {
          if (!(error instanceof Away)) throw error;
          if (!wanted()) break;
          this.#failing.add(me);
          this.#changed(error.message);
        }
        await pause(PAUSES_MS[Math.min(attempt, PAUSES_MS.length - 1)]);
      }
      return undefined;
    } finally {
      if (this.#failing.delete(me) && this.#failing.size === 0) this.#changed(null);
    }
  }
}

/** Waits; less when the computer gets its network back in the meantime. */
function pause(ms) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
  });
}
