// Answers on their way. An answer stays in this browser's storage until the service has it, so neither a lost connection
// nor a closed window loses one. Sending twice is safe: a lease answers once, and says so again.

import { Refused } from "./api.js";

const PREFIX = "secondreader.outbox.";

export class Outbox {
  #api;
  #connection;
  #heard;
  #sending = Promise.resolve();

  /** `heard(entry, error, answer)`: the service has the answer (error null) and replied so, or refused it. */
  constructor(api, connection, heard) {
    this.#api = api;
    this.#connection = connection;
    this.#heard = heard;
    for (const entry of stored()) this.#send(entry);
  }

  get size() {
    return stored().length;
  }

  /**
   * `entry`: `{token, verdict, said}`; a verdict of null skips, or escalates with a `note`. One that `amends` `{id, revision,
   * reviewer}` has a token of its own. `said` is the answer in words.
   */
  put(entry) {
    localStorage.setItem(PREFIX + entry.token, JSON.stringify(entry));
    this.#send(entry);
  }

  #send(entry) {
    this.#sending = this.#sending.then(() => this.#deliver(entry));
  }

  async #deliver(entry) {
    let refused = null;
    let answer = null;
    try {
      answer = await this.#connection.insist(() => this.#call(entry));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refused = error;
    }
    localStorage.removeItem(PREFIX + entry.token);
    this.#heard(entry, refused, answer);
  }

  #call({ token, verdict, note, amends }) {
    if (amends) return this.#api.amend(amends.id, amends.revision, amends.reviewer, verdict);
    if (verdict) return this.#api.answer(token, verdict);
    return note ? this.#api.escalate(token, note) : this.#api.skip(token);
  }
}

function stored() {
  return Object.keys(localStorage)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => JSON.parse(localStorage.getItem(name)));
}
