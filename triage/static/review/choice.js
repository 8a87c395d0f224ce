// What the reviewer has chosen so far. Pure: no element, no clock.
//
// A schema that is one exclusive group is the plain case: one label, or one of the outcomes. In every other schema each
// label goes untouched -> present -> untouched (exclusive group) or untouched -> present -> absent -> untouched
// (independent): what was not touched is left out of the verdict, because silence is no "absent".

const DIGITS = "1234567890";
const LETTERS = "abcdefghijklmopqrtvwxyz"; // n, s and u are taken by none of these, skip and unusable

export const OUTCOMES = Object.freeze({ none_of_these: "None of these", unusable: "Unusable" });

export class Choice {
  #given = new Map();
  outcome = null;

  constructor(labels, groups) {
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

  labelFor(key) {
    return this.labels.find((label) => this.keys.get(label.id) === key && key)?.id ?? null;
  }

  /** Chooses a label. True when it was chosen already in the plain case: pressed twice, it is meant. */
  press(id) {
    this.outcome = null;
    const group = this.groups.find((each) => each.labels.some((label) => label.id === id));
    const before = this.#given.get(id);
    if (group.kind === "exclusive") {
      if (this.plain && before) return true;
      for (const label of group.labels) this.#given.delete(label.id);
      if (!before) this.#given.set(id, "present");
    } else if (before === "absent") this.#given.delete(id);
    else this.#given.set(id, before ? "absent" : "present");
    return false;
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
    if (!this.#given.size) return null;
    return { outcome: "labels", answers: Object.fromEntries(this.#given) };
  }

  /** The same in words. */
  said() {
    if (this.outcome) return OUTCOMES[this.outcome];
    const chosen = this.labels.filter((label) => this.#given.has(label.id));
    return chosen.map((label) => (this.of(label.id) === "absent" ? `no ${label.name}` : label.name)).join(", ");
  }
}
