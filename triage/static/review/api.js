// The service over HTTP. Every call either gives its answer or throws one of two errors:
//
//   Refused  the service answered "no" (status, detail); sending the same again changes nothing
//   Away     no answer, or "not now": worth trying again

const ROOT = new URL("../../", import.meta.url); // wherever the service is mounted
const PATIENCE_MS = 15_000;

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Away extends Error {}

export class Api {
  #key;
  #askKey;
  #asking = null;

  /** `askKey(refusedBefore)` resolves to a key once the reviewer has given one. */
  constructor(key, askKey) {
    this.#key = key;
    this.#askKey = askKey;
  }

  /** Who the service takes the reviewer for, and what they may do. */
  me() {
    return this.#json("GET", "v1/me");
  }

  queues() {
    return this.#json("GET", "v1/queues");
  }

  queue(name) {
    return this.#json("GET", `v1/queues/${encodeURIComponent(name)}`);
  }

  /** `{items, labels, groups, escalates, lastsMs}`: up to `count` items for some `seconds`, waiting up to `wait` s for the first. */
  async lease(queue, { reviewer, count, seconds, wait, signal }) {
    const path = `v1/queues/${encodeURIComponent(queue)}/leases`;
    const json = { reviewer, count, seconds, wait };
    const reply = await this.#call("POST", path, { json, signal, patienceMs: PATIENCE_MS + 1000 * wait });
    const body = await whole(reply.json());
    return { ...body, lastsMs: Math.min(...body.items.map((item) => lasts(reply, item.expires_at))) };
  }

  /** Keeps a lease; for how many milliseconds from now. */
  async extend(token) {
    const reply = await this.#call("PATCH", lease(token));
    return lasts(reply, (await whole(reply.json())).expires_at);
  }

  shown(token) {
    return this.#json("POST", `${lease(token)}/shown`);
  }

  /** `keepalive` lets the request outlive the page, as it does for answers. */
  giveBack(token, keepalive = false) {
    return this.#call("DELETE", lease(token), { keepalive });
  }

  skip(token) {
    return this.#call("POST", `${lease(token)}/skip`, { keepalive: true });
  }

  answer(token, verdict) {
    return this.#json("POST", `${lease(token)}/verdict`, { json: verdict, keepalive: true });
  }

  /** Another answer in the place of one that was given; `revision` is the one that it takes the place of. */
  amend(id, revision, reviewer, verdict) {
    const json = { ...verdict, revision, reviewer };
    return this.#json("POST", `v1/verdicts/${encodeURIComponent(id)}/amend`, { json, keepalive: true });
  }

  escalate(token, note) {
    return this.#json("POST", `${lease(token)}/escalate`, { json: { note }, keepalive: true });
  }

  prediction(id) {
    return this.#json("GET", `v1/predictions/${encodeURIComponent(id)}`);
  }

  rules(digest) {
    return this.#json("GET", `v1/rules/${digest}`);
  }

  async image(path) {
    return whole((await this.#call("GET", path.slice(1))).blob());
  }

  async #json(method, path, options) {
    return whole((await this.#call(method, path, options)).json());
  }

  async #call(method, path, { json, signal, keepalive = false, patienceMs = PATIENCE_MS } = {}) {
    const headers = { Accept: "application/json, image/png" };
    if (json !== undefined) headers["Content-Type"] = "application/json";
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    const used = this.#key;
    let reply;
    try {
      reply = await fetch(new URL(path, ROOT), {
        method, headers, keepalive, cache: "no-store", body: json === undefined ? undefined : JSON.stringify(json),
        signal: AbortSignal.any([AbortSignal.timeout(patienceMs), ...(signal ? [signal] : [])]),
      });
    } catch {
      throw new Away("The service does not answer.");
    }
    if (reply.ok) return reply;
    if (reply.status === 401) {
      await this.#renewKey(used);
      return this.#call(method, path, { json, signal, keepalive, patienceMs });
    }
    const detail = await said(reply);
    throw reply.status >= 500 || reply.status === 429 ? new Away(detail) : new Refused(reply.status, detail);
  }

  /** Several calls may be refused at once; the reviewer is asked once. */
  async #renewKey(refused) {
    if (this.#key !== refused) return;
    this.#asking ??= this.#askKey(Boolean(refused)).finally(() => (this.#asking = null));
    this.#key = await this.#asking;
  }
}

function lease(token) {
  return `v1/leases/${encodeURIComponent(token)}`;
}

/** Milliseconds until a moment on the service's clock, which need not be this computer's. */
function lasts(reply, moment) {
  return Date.parse(moment) - (Date.parse(reply.headers.get("date")) || Date.now());
}

async function whole(body) {
  try {
    return await body;
  } catch {
    throw new Away("The service's answer broke off.");
  }
}

async function said(reply) {
  try {
    return String((await reply.json()).detail ?? reply.status);
  } catch {
    return `The service answered ${reply.status}.`;
  }
}
