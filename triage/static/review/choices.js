// The list of labels: keys, names, and beside each name quietly what the model thinks of it.

export class Choices {
  #list;
  #press;
  #rows = new Map();

  /** `press(id)` hears of a click. */
  constructor(list, press) {
    this.#list = list;
    this.#press = press;
    list.addEventListener("focusin", (event) => this.#rove(event.target));
  }

  /** Builds the rows of a choice; `suggestions` as the service gives them. */
  show(choice, suggestions) {
    this.#rows.clear();
    const known = new Map(suggestions.map((each) => [each.id, each]));
    this.#list.replaceChildren(...choice.groups.map((group) => this.#group(choice, group, known)));
    this.update(choice);
    this.#rove(this.#rows.values().next().value);
  }

  /** Marks what is chosen. */
  update(choice) {
    const open = new Set(choice.plain ? [] : choice.open.map((label) => label.id));
    for (const [id, row] of this.#rows) {
      const answer = choice.of(id) ?? "";
      if (answer && answer !== row.dataset.answer) row.scrollIntoView({ block: "nearest" });
      row.dataset.answer = answer;
      const radio = row.getAttribute("role") === "radio"; // says by itself which one is chosen
      if (radio) row.setAttribute("aria-checked", String(answer === "present"));
      row.querySelector(".mark").textContent = radio && answer !== "absent" ? "" : answer || (open.has(id) ? "open" : "");
    }
    for (const box of this.#list.children)
      box.dataset.open = String([...box.querySelectorAll("[data-label]")].some((row) => open.has(row.dataset.label)));
  }

  /** Adds what each label may do: the threshold as a tick on the bar, or that only people answer it. */
  standing(classes) {
    for (const [id, row] of this.#rows) {
      const rule = classes[id];
      if (!rule) continue;
      row.dataset.state = rule.state;
      const about = row.querySelector(".about");
      const bar = row.querySelector(".bar");
      if (rule.state === "human") about.textContent = "people only";
      else if (rule.state === "automatic" && bar) {
        bar.style.setProperty("--needs", rule.threshold);
        row.title = `${row.title}; answers by itself from ${percent(rule.threshold)}`;
      }
    }
  }

  /** Moves the focus one row down (1) or up (-1). */
  move(step) {
    const rows = [...this.#rows.values()];
    const from = rows.findIndex((row) => row.tabIndex === 0);
    const start = rows.includes(document.activeElement) ? from + step : from;
    rows[(start + rows.length) % rows.length]?.focus();
  }

  /** The label whose row has the focus, or null. */
  get focused() {
    return document.activeElement?.closest("[data-label]")?.dataset.label ?? null;
  }

  #group(choice, group, known) {
    const box = made("div", "group");
    const exclusive = group.kind === "exclusive";
    box.setAttribute("role", exclusive ? "radiogroup" : "group");
    box.setAttribute("aria-label", choice.plain ? "Labels" : `Labels: ${group.id}`);
    if (choice.groups.length > 1) {
      const heading = made("h3", "", group.id.replaceAll(/[_.-]/g, " "));
      heading.append(made("span", "", exclusive ? "choose one" : choice.blind ? "each present or absent" : "choose any"));
      box.append(heading);
    }
    box.append(...group.labels.map((label) => this.#row(label, choice.keys.get(label.id), exclusive, known.get(label.id))));
    return box;
  }

  #row(label, key, exclusive, suggestion) {
    const row = made("button", "choice");
    row.type = "button";
    row.tabIndex = -1;
    row.dataset.label = label.id;
    if (exclusive) row.setAttribute("role", "radio");
    if (key) row.setAttribute("aria-keyshortcuts", key);
    const cap = made("kbd", "", key.toUpperCase());
    cap.setAttribute("aria-hidden", "true");
    row.append(cap, made("span", "name", label.name), made("span", "mark"), made("span", "about"));
    if (suggestion) {
      const bar = made("span", "bar");
      bar.style.setProperty("--share", suggestion.probability);
      row.querySelector(".about").append(bar, made("span", "percent", percent(suggestion.probability)));
      row.dataset.state = suggestion.state;
      row.title = `The model gives ${label.name} ${percent(suggestion.probability)}`;
    }
    row.addEventListener("click", () => this.#press(label.id));
    this.#rows.set(label.id, row);
    return row;
  }

  #rove(target) {
    const row = target?.closest("[data-label]");
    if (!row) return;
    for (const each of this.#rows.values()) each.tabIndex = each === row ? 0 : -1;
  }
}

/** 0.9973 -> "99%": rounded down, so that nothing looks certain that is not; below one percent "<1%". */
export function percent(probability) {
  const whole = Math.floor(100 * probability);
  return whole < 1 ? "<1%" : `${whole}%`;
}

function made(tag, classes, text = "") {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (text) element.textContent = text;
  return element;
}
