// What the reviewer has chosen so far. Pure: no element, no clock.
//
// A schema that is one exclusive group is the plain case: one label, or one of the outcomes. In every other schema each
// label goes untouched -> present -> untouched (exclusive group) or untouched -> present -> absent -> untouched
// (independent): what was not touched is left out of the verdict, because silence is no "absent".
//
// A blind item asks for every label: untouched -> present -> absent -> present, and there is no verdict while a label is
// open. In an exclusive group one that is present answers for the others.

const DIGITS = "1234567890";
const LETTERS = "abcdfghijklmopqrtvwxyz"; // e, n, s and u are taken by escalate, none of these, skip and unusable

export const OUTCOMES = Object.freeze({ none_of_these: "None of these", unusable: "Unusable" });

export class Choice {
  #given = new Map();
  outcome = null;

  constructor(labels, groups, blind = false) {
    this.blind = blind;
    const keys = [...DIGITS, ...LETTERS];
    this.groups = groups
      .map((group) => ({ ...group, labels: labels.filter((label) => label.group === group.id) }))
      .filter((group) => group.labels.length);
    this.labels = this.groups.flatMap((group) => group.labels);
    this.keys = new Map(this.labels.map((label, place) => [label.id, keys[place] ?? ""]));
    this.plain = this.groups.length === 1 && this.groups[0].kind === "exclusive";
  }

  /** `present`, `absent` or undefined. */
  of(id) {
    return this.#given.get(id);
  }

  /** Something is said of at least one label. */
  get touched() {
    return this.#given.size > 0;
  }

  labelFor(key) {
    return this.labels.find((label) => this.keys.get(label.id) === key && key)?.id ?? null;
  }

  /** Chooses a label. True when it was chosen already in the plain case: pressed twice, it is meant. */
  press(id) {
    this.outcome = null;
    const group = this.groups.find((each) => each.labels.some((label) => label.id === id));
    const before = this.#given.get(id);
    if (this.blind && !this.plain) this.#say(group, id, before === "present" ? "absent" : "present");
    else if (group.kind === "exclusive") {
      if (this.plain && before) return true;
      for (const label of group.labels) this.#given.delete(label.id);
      if (!before) this.#given.set(id, "present");
    } else if (before === "absent") this.#given.delete(id);
    else this.#given.set(id, before ? "absent" : "present");
    return false;
  }

  #say(group, id, answer) {
    if (answer === "present" && group.kind === "exclusive")
      for (const label of group.labels) if (this.of(label.id) === "present") this.#given.delete(label.id);
    this.#given.set(id, answer);
  }

  /** Labels that a blind item still wants an answer for. */
  get open() {
    if (!this.blind || this.outcome) return [];
    const settled = (group) => group.kind === "exclusive" && group.labels.some((label) => this.of(label.id) === "present");
    return this.groups.filter((group) => !settled(group)).flatMap((group) => group.labels.filter((label) => !this.of(label.id)));
  }

  /** A blind item has labels that can be absent one by one. */
  get canRest() {
    return this.blind && this.groups.some((group) => group.kind !== "exclusive");
  }

  /** Calls every open label absent, but for those of which one has to be chosen. */
  rest() {
    if (!this.canRest) return;
    this.outcome = null;
    const exclusive = new Set(this.groups.filter((group) => group.kind === "exclusive").map((group) => group.id));
    for (const label of this.open) if (!exclusive.has(label.group)) this.#given.set(label.id, "absent");
  }

  /** Chooses an outcome instead of labels. True when it was chosen already. */
  pick(outcome) {
    if (this.outcome === outcome) return true;
    this.clear();
    this.outcome = outcome;
    return false;
  }

  clear() {
    this.#given.clear();
    this.outcome = null;
  }

  /** The verdict as the service takes it; null while nothing is chosen. */
  verdict() {
    if (this.outcome) return { outcome: this.outcome, answers: {} };
    if (!this.#given.size || this.open.length) return null;
    return { outcome: "labels", answers: Object.fromEntries(this.#given) };
  }

  /** The same in words. */
  said() {
    if (this.outcome) return OUTCOMES[this.outcome];
    const wanted = (label) => (this.blind ? this.of(label.id) === "present" : this.#given.has(label.id));
    const chosen = this.labels.filter(wanted);
    if (!chosen.length) return "Nothing present";
    return chosen.map((label) => (this.of(label.id) === "absent" ? `no ${label.name}` : label.name)).join(", ");
  }
}
