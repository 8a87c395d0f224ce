// The image being read: puts it on the page, takes the choice, knows when that can be sent.

import { age } from "./ages.js";
import { Refused } from "./api.js";
import { Choice } from "./choice.js";
import { Choices } from "./choices.js";
import { hooks } from "./hooks.js";
import { BLIND, EARLIER, WHY, inWords } from "./reasons.js";

export class Reading {
  #stage;
  #shown;
  #rows;
  #seen = false; // labels can be given once the picture has been on the screen
  task = null;
  choice = null;

  /** `shown(task)` tells the service that the image is on the screen; it rejects with Refused when the lease is lost. */
  constructor(stage, shown) {
    this.#stage = stage;
    this.#shown = shown;
    this.#rows = new Choices(hooks.choices, (id) => this.press(id));
  }

  /** Something is chosen, of an image that was seen; one that cannot be shown can still be called unusable. */
  get ready() {
    return Boolean(this.choice?.verdict()) && (this.#seen || this.choice.outcome === "unusable");
  }

  get seen() {
    return this.#seen;
  }

  /** Puts a task on the page, or with null clears it. */
  async put(task) {
    this.task = task;
    this.#seen = false;
    this.#stage.clear();
    this.choice = task && new Choice(task.labels, task.groups, task.item.blind);
    this.#why(task);
    if (task) {
      this.#about(task.item);
      this.#rows.show(this.choice, task.item.suggestions);
      task.classes.then((classes) => task === this.task && this.#rows.standing(classes), withoutStanding);
    }
    this.#update();
    if (task) await this.#show(task);
  }

  /** True when the label was chosen already: pressed twice, it is meant. */
  press(id) {
    if (!id || !this.#seen) return false;
    const meant = this.choice.press(id);
    this.#update();
    return meant;
  }

  /** The same for an outcome. */
  pick(outcome) {
    if (!this.choice || !(this.#seen || outcome === "unusable")) return false;
    const meant = this.choice.pick(outcome);
    this.#update();
    return meant;
  }

  /** Chooses the label that has the focus, if one has. */
  pressFocused() {
    const id = this.#rows.focused;
    this.press(id);
    return id !== null;
  }

  /** Names of the labels that are still to be answered, once something is said. */
  get open() {
    return this.choice?.touched ? this.choice.open.map((label) => label.name) : [];
  }

  rest() {
    if (this.#seen) this.choice?.rest();
    this.#update();
  }

  move(step) {
    this.#rows.move(step);
  }

  clear() {
    this.choice?.clear();
    this.#update();
  }

  #why(task) {
    const blind = Boolean(task?.item.blind);
    hooks.screen.dataset.blind = String(blind);
    hooks.whyTitle.textContent = blind ? BLIND.title : WHY;
    hooks.reasons.replaceChildren(...(blind ? [BLIND.why] : (task?.item.reasons ?? []).map(inWords)).map(line));
    hooks.rest.hidden = !this.choice?.canRest;
    hooks.escalate.hidden = !task?.escalates;
    hooks.earlier.replaceChildren(...(task?.item.earlier ?? []).map((each) => line(heard(each, task.labels))));
    hooks.earlier.hidden = !task?.item.earlier?.length;
  }

  #about(item) {
    const seconds = Math.max(0, (Date.now() - Date.parse(item.received_at)) / 1000);
    hooks.received.textContent = `Received ${age(seconds)} ago`;
    const origin = [item.site === "default" ? "" : item.site, item.case ? `case ${item.case}` : ""];
    hooks.case.textContent = origin.filter(Boolean).join(" · ");
  }

  async #show(task) {
    try {
      const picture = await task.picture;
      if (task !== this.task) return;
      await this.#stage.show(picture);
      if (task !== this.task) return;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (task === this.task) this.#stage.say(`This image cannot be shown: ${error.message}. Call it unusable, or skip it.`);
      return;
    }
    this.#seen = true;
    this.#update();
    await this.#shown(task);
  }

  #update() {
    if (this.choice) this.#rows.update(this.choice);
    else hooks.choices.replaceChildren();
    hooks.noneOfThese.setAttribute("aria-pressed", String(this.choice?.outcome === "none_of_these"));
    hooks.unusable.setAttribute("aria-pressed", String(this.choice?.outcome === "unusable"));
    hooks.screen.dataset.seen = String(this.#seen);
    hooks.answer.disabled = !this.ready;
  }
}

/** What somebody said before, for an adjudicator: "ada: boot, no lace. “torn?”" */
function heard({ reviewer, outcome, answers, note, new_label: added }, labels) {
  const name = (id) => labels.find((label) => label.id === id)?.name ?? id;
  const words = { present: "", absent: "no ", unsure: "unsure of " };
  const told = Object.entries(answers).filter(([, answer]) => answer in words);
  const said = outcome === "labels" ? told.map(([id, answer]) => words[answer] + name(id)).join(", ") : EARLIER[outcome];
  return `${reviewer}: ${said}${added ? ` “${added}”` : ""}.${note ? ` “${note}”` : ""}`;
}

function line(words) {
  return Object.assign(document.createElement("li"), { textContent: words });
}

function withoutStanding(error) {
  if (!(error instanceof Refused)) throw error; // rules that are gone: the bars carry no mark
}
