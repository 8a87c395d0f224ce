// The page: wires the parts, and says what each command does.

import { age } from "./ages.js";
import { Api, Refused } from "./api.js";
import { Choice } from "./choice.js";
import { Choices } from "./choices.js";
import { Connection } from "./connection.js";
import { Desk } from "./desk.js";
import { askKey, askName, isOpen, toggleHelp } from "./dialogs.js";
import { hooks } from "./hooks.js";
import { command } from "./keys.js";
import * as notices from "./notices.js";
import { Outbox } from "./outbox.js";
import { Progress } from "./progress.js";
import { inWords } from "./reasons.js";
import { session } from "./session.js";
import { Stage } from "./stage.js";
import { prepare } from "./task.js";

const api = new Api(session.key, async (wrong) => (session.key = await askKey(wrong)));
const stage = new Stage(hooks.frame);
const choices = new Choices(hooks.choices, (id) => press(id, false));
let away = null; // why nothing gets through, if so
const connection = new Connection((why) => notices.banner((away = why), outbox?.size ?? 0));
let outbox = null;
let shown = null; // the task whose rows and picture are on the page
let choice = null;
let seen = false; // labels can be given once the picture has been on the screen

session.reviewer ??= await askName();
hooks.reviewer.textContent = session.reviewer;
const queue = await chosenQueue();
const desk = new Desk(api, connection, queue, session.reviewer, (...leased) => prepare(api, connection, ...leased), {
  changed: render,
  lost: (_, why) => notices.notice(`${notices.sentence(why)} Here is the next one.`),
  refused: (error) => {
    hooks.stoppedWhy.textContent = notices.sentence(error.message);
    hooks.screen.dataset.screen = "stopped";
  },
});
outbox = new Outbox(api, connection, (entry, refused) => {
  if (refused?.status === 409) notices.notice(`${notices.sentence(refused.message)} Your answer was not needed.`);
  else if (refused) notices.notice(`The service refused the answer “${entry.said}”: ${refused.message}`);
  else if (entry.verdict) progress.count();
  notices.last(entry.said, refused ? "not counted" : "saved");
  notices.banner(away, outbox.size);
});
const progress = new Progress(api, desk);
listen();
render();
await Promise.all([desk.supply(), progress.refresh()]);

/** The queue that the address names, else the fullest one; several can be chosen from. */
async function chosenQueue() {
  const all = await connection.insist(() => api.queues());
  const asked = new URLSearchParams(location.search).get("queue");
  const fullest = all.reduce((best, each) => (each.waiting > best.waiting ? each : best), all[0] ?? { queue: "default.review" });
  const name = asked ?? fullest.queue;
  const names = [...new Set([...all.map((each) => each.queue), name])];
  hooks.queue.replaceChildren(...names.map((each) => new Option(each.replace(/\.review$/, ""), each, false, each === name)));
  hooks.queue.hidden = names.length < 2;
  hooks.queueName.hidden = names.length >= 2;
  hooks.queueName.textContent = name.replace(/\.review$/, "");
  return name;
}

function render() {
  const task = desk.current;
  progress.show();
  if (task !== shown) put(task);
  if (hooks.screen.dataset.screen === "stopped") return;
  hooks.screen.dataset.screen = task ? "reviewing" : desk.away ? "paused" : desk.dry ? "empty" : "starting";
}

/** Puts a task on the page, or clears it. */
async function put(task) {
  shown = task;
  seen = false;
  stage.clear();
  hooks.reasons.replaceChildren();
  hooks.choices.replaceChildren();
  choice = task && new Choice(task.labels, task.groups);
  if (!task) return update();
  const { item } = task;
  hooks.reasons.replaceChildren(...item.reasons.map((reason) => Object.assign(document.createElement("li"), { textContent: inWords(reason) })));
  hooks.received.textContent = `Received ${age(Math.max(0, (Date.now() - Date.parse(item.received_at)) / 1000))} ago`;
  hooks.case.textContent = [item.site === "default" ? "" : item.site, item.case ? `case ${item.case}` : ""].filter(Boolean).join(" · ");
  choices.show(choice, item.suggestions);
  update();
  task.classes.then((classes) => task === shown && choices.standing(classes), ignoreRefused);
  try {
    const picture = await task.picture;
    if (!picture || task !== shown) return;
    await stage.show(picture);
    if (task !== shown) return;
    seen = true;
    update();
    await connection.insist(() => api.shown(task.token), () => task === shown);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (seen) desk.drop(task, error);
    else if (task === shown) stage.say(`This image cannot be shown: ${error.message}. Call it unusable, or skip it.`);
  }
}

function ignoreRefused(error) {
  if (!(error instanceof Refused)) throw error; // without rules the bars simply carry no mark
}

function update() {
  if (choice) choices.update(choice);
  hooks.noneOfThese.setAttribute("aria-pressed", String(choice?.outcome === "none_of_these"));
  hooks.unusable.setAttribute("aria-pressed", String(choice?.outcome === "unusable"));
  hooks.screen.dataset.seen = String(seen);
  hooks.answer.disabled = !ready();
}

/** Something is chosen, of an image that was seen; one that cannot be shown can still be called unusable. */
function ready() {
  return Boolean(choice?.verdict()) && (seen || choice.outcome === "unusable");
}

function press(id, twice) {
  if (!choice || !seen) return;
  const meant = choice.press(id);
  update();
  if (meant && twice) submit();
}

function pick(outcome, twice) {
  if (!choice || !(seen || outcome === "unusable")) return;
  const meant = choice.pick(outcome);
  update();
  if (meant && twice) submit();
}

function submit() {
  if (!shown) return;
  if (ready()) leave({ token: shown.token, verdict: choice.verdict(), said: choice.said() });
  else if (seen && choices.focused && !choice.verdict()) press(choices.focused, false);
  else if (seen) notices.notice("Choose a label first, or N for none of these.");
}

/** The answer goes on its way and the next image is there at once. */
function leave(entry) {
  notices.notice("");
  notices.last(entry.said, "sending");
  outbox.put(entry);
  if (away) notices.banner(away, outbox.size);
  desk.finish();
}

function skip() {
  if (shown) leave({ token: shown.token, verdict: null, said: "Skipped" });
}

function clear() {
  choice?.clear();
  update();
}

function listen() {
  const commands = {
    submit,
    skip,
    clear,
    none_of_these: () => pick("none_of_these", true),
    unusable: () => pick("unusable", true),
    down: () => choices.move(1),
    up: () => choices.move(-1),
    zoomIn: () => stage.zoom(1),
    zoomOut: () => stage.zoom(-1),
    help: toggleHelp,
    pan: ({ pan }) => stage.pan(pan),
    label: ({ key }) => {
      const id = choice?.labelFor(key);
      if (id) press(id, true);
    },
  };
  addEventListener("keydown", (event) => {
    if (desk.touch()) return event.preventDefault(); // the key that wakes the page does nothing else
    const meant = command(event);
    if (!meant || event.repeat && !/zoom|pan|down|up/.test(meant.name)) return;
    if (isOpen() && !(meant.name === "help" && hooks.help.open)) return;
    if (meant.name === "submit" && event.target.closest("[data-own-enter]")) return;
    if (event.target.closest("select")) return;
    event.preventDefault();
    commands[meant.name](meant);
  });
  for (const kind of ["pointerdown", "pointermove", "wheel"]) addEventListener(kind, () => desk.touch(), { passive: true });
  hooks.answer.addEventListener("click", submit);
  hooks.skip.addEventListener("click", skip);
  hooks.clear.addEventListener("click", clear);
  hooks.noneOfThese.addEventListener("click", () => pick("none_of_these", false));
  hooks.unusable.addEventListener("click", () => pick("unusable", false));
  hooks.zoomIn.addEventListener("click", () => stage.zoom(1));
  hooks.zoomOut.addEventListener("click", () => stage.zoom(-1));
  hooks.helpOpen.addEventListener("click", toggleHelp);
  hooks.helpClose.addEventListener("click", toggleHelp);
  hooks.queue.addEventListener("change", () => location.assign(`?queue=${encodeURIComponent(hooks.queue.value)}`));
  hooks.reviewer.addEventListener("click", async () => {
    const before = session.reviewer;
    session.reviewer = await askName(before);
    if (session.reviewer !== before) location.reload(); // leaving gives this name's items back
  });
  addEventListener("pagehide", () => desk.clear(true));
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}
