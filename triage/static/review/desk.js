// The reviewer's desk: the item being read, and the next one already fetched. Leases are kept alive while the reviewer is
// there, and given back when they leave: an item is never kept from others by somebody who does not look at it.

import { Refused } from "./api.js";

const HOLD = 2;
const WAIT_S = 20;
const UNCLAIMED_S = 30; // of a lease whose page closed before it heard of it; the first heartbeat gives it its full length
const ASK_MS = 3_000;
const IDLE_MS = 10 * 60_000;
const BEAT_MS = [1_000, 60_000];

export class Desk {
  #api;
  #connection;
  #prepare;
  #heard;
  #held = [];
  #dry = false;
  #supplying = false;
  #active = Date.now();
  #beatMs = BEAT_MS[0];
  #beatAt = 0;
  #askAt = 0;
  #away = false;
  #asking = null;

  /**
   * `prepare(item, labels, groups, escalates)` makes what the page shows of a leased item; it has the item's `token`.
   * `heard` has `changed()`, `lost(task, why)`, `refused(error)`.
   */
  constructor(api, connection, queue, reviewer, prepare, heard) {
    this.#api = api;
    this.#connection = connection;
    this.queue = queue;
    this.reviewer = reviewer;
    this.#prepare = prepare;
    this.#heard = heard;
    setInterval(() => this.#tick(), 1_000);
  }

  get current() {
    return this.#held[0] ?? null;
  }

  /** Items fetched beyond the current one. */
  get ahead() {
    return Math.max(0, this.#held.length - 1);
  }

  /** The reviewer went away from a page that stayed open. */
  get away() {
    return this.#away;
  }

  /** The queue had nothing when it was last asked. */
  get dry() {
    return this.#dry;
  }

  /** Takes the current item off the desk: its lease is used up by an answer or a skip. */
  finish() {
    this.#held.shift();
    this.#heard.changed();
    this.supply();
  }

  /** The reviewer does something. True when that brought them back. */
  touch() {
    this.#active = Date.now();
    if (!this.#away) return false;
    this.#away = false;
    this.#heard.changed();
    this.supply();
    return true;
  }

  /** Gives everything back, also while the page is being closed; first of all stops asking, or it would come back. */
  leave(keepalive = false) {
    this.#away = true;
    this.#asking?.abort();
    for (const task of this.#held.splice(0)) this.#giveBack(task.token, keepalive);
  }

  /** Fills the desk as far as the queue can; an empty desk waits. One loop at a time. */
  async supply() {
    if (this.#supplying || this.#away || this.#held.length >= HOLD) return;
    this.#supplying = true;
    try {
      do await this.#take();
      while (!this.#away && this.#held.length < HOLD && (this.#held.length === 0 || !this.#dry));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#dry = false; // whatever comes after this is news
      this.#heard.refused(error);
    } finally {
      this.#supplying = false;
    }
  }

  /**
   * Asks once, so that an empty queue is known at once; then an empty desk waits at the queue for what comes. One that holds
   * an item never waits there: when the page closes, its own waiting request would take what it has just given back.
   */
  async #take() {
    if (document.hidden && this.#held.length === 0) await seen(); // nobody looks: leave the items to those who do
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    const ask = () => {
      const wait = this.#dry && this.#held.length === 0 ? WAIT_S : 0;
      const count = HOLD - this.#held.length;
      return this.#api.lease(this.queue, { reviewer: this.reviewer, count, seconds: UNCLAIMED_S, wait, signal });
    };
    const reply = await this.#connection.insist(ask, () => !signal.aborted);
    if (!reply) return;
    const was = this.#dry;
    this.#dry = reply.items.length === 0;
    if (this.#away) return reply.items.forEach((item) => this.#giveBack(item.token));
    for (const item of reply.items) {
      const task = this.#prepare(item, reply.labels, reply.groups, reply.escalates);
      this.#held.push(task);
      this.#beat(task);
    }
    if (reply.items.length || was !== this.#dry) this.#heard.changed();
  }

  #tick() {
    const now = Date.now();
    if (!this.#away && now - this.#active > IDLE_MS) {
      this.leave();
      this.#heard.changed();
    }
    if (now >= this.#askAt) {
      this.#askAt = now + ASK_MS;
      this.supply();
    }
    if (now < this.#beatAt) return;
    this.#beatAt = now + this.#beatMs;
    for (const task of [...this.#held]) this.#beat(task);
  }

  async #beat(task) {
    try {
      const lasts = await this.#api.extend(task.token);
      this.#beatMs = Math.min(Math.max(lasts / 3, BEAT_MS[0]), BEAT_MS[1]);
    } catch (error) {
      if (error instanceof Refused) this.drop(task, error); // Away: the next beat tries again
    }
  }

  /** The lease is lost. Of an item that was never shown nobody needs to hear. */
  drop(task, error) {
    const place = this.#held.indexOf(task);
    if (place < 0) return;
    this.#held.splice(place, 1);
    if (place === 0) this.#heard.lost(task, error.message);
    this.#heard.changed();
    this.supply();
  }

  async #giveBack(token, keepalive = false) {
    try {
      await this.#api.giveBack(token, keepalive);
    } catch {
      // The lease ends by itself; there is nothing to mend and nobody to tell.
    }
  }
}

function seen() {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", function visible() {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", visible);
      resolve();
    });
  });
}
