// The page: wires the parts, and says what each command does.

import { Api, Refused } from "./api.js";
import { Connection } from "./connection.js";
import { Desk } from "./desk.js";
import { askKey, askName, askNote, isOpen, toggleHelp } from "./dialogs.js";
import { hooks } from "./hooks.js";
import { command } from "./keys.js";
import * as notices from "./notices.js";
import { Outbox } from "./outbox.js";
import { Progress } from "./progress.js";
import { chosenQueue } from "./queues.js";
import { Reading } from "./reading.js";
import { session } from "./session.js";
import { Stage } from "./stage.js";
import { prepare } from "./task.js";
import { Undo } from "./undo.js";

let away = null; // why nothing gets through, if so
let outbox = null;
let amending = null; // the answer that was taken back, until another is given in its place
let sent = null; // the item of the last answer, and the token that the answer is sent under
const api = new Api(session.key, async (wrong) => (session.key = await askKey(wrong)));
const connection = new Connection((why) => notices.banner((away = why), outbox?.size ?? 0));
const stage = new Stage(hooks.frame);
const reading = new Reading(stage, shown);
const undo = new Undo();

const me = await known();
if (me.names_reviewers) session.reviewer ??= await askName();
const reviewer = me.names_reviewers ? session.reviewer : me.subject; // a person's name is not theirs to choose
hooks.reviewer.textContent = reviewer;
hooks.reviewer.disabled = !me.names_reviewers;
const looksUp = ["predictions.all", "sites.read"].every((each) => me.permissions.includes(each));
const queue = chosenQueue(await connection.insist(() => api.queues()));
const desk = new Desk(api, connection, queue, reviewer, (...leased) => prepare(api, connection, looksUp, ...leased), {
  changed: render,
  lost: (_, why) => notices.notice(`${notices.sentence(why)} Here is the next one.`),
  refused: stop,
});
const progress = new Progress(api, desk);
outbox = new Outbox(api, connection, delivered);
listen();
render();
await Promise.all([desk.supply(), progress.refresh()]);

/** Who reviews; asked for a key first, where one is needed. Whoever may do nothing hears why, and nothing more happens. */
async function known() {
  try {
    return await connection.insist(() => api.me());
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    stop(error);
    return new Promise(() => {});
  }
}

function stop(error) {
  hooks.stoppedWhy.textContent = notices.sentence(error.message);
  hooks.screen.dataset.screen = "stopped";
}

function render() {
  progress.show();
  hooks.screen.dataset.amending = String(amending !== null);
  const task = amending?.task ?? desk.current;
  if (task !== reading.task) reading.put(task);
  hooks.screen.dataset.screen = task ? "reviewing" : desk.away ? "paused" : desk.dry ? "empty" : "starting";
}

/** The image is on the screen: the service starts its clock, unless the lease was lost in the meantime. */
async function shown(task) {
  if (task === amending?.task) return; // it was timed when it was answered first
  try {
    await connection.insist(() => api.shown(task.token), () => task === desk.current);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    desk.drop(task, error);
  }
}

function submit() {
  if (reading.ready) leave(reading.choice.verdict(), reading.choice.said());
  else if (reading.open.length) notices.notice(`Still open: ${listed(reading.open)}.`);
  else if (reading.seen && !reading.pressFocused()) notices.notice("Choose a label first, or N for none of these.");
}

/** "a, b, c and 4 more" */
function listed(names) {
  return names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
}

function skip() {
  if (amending) return notices.notice("An answer that was given is not skipped. Esc keeps it as it was.");
  if (reading.task) leave(null, "Skipped");
}

async function escalate() {
  const { task } = reading;
  if (!task?.escalates || !reading.seen || amending) return;
  const note = await askNote();
  if (note && task === reading.task) leave(null, "Escalated", note);
}

/** The answer goes on its way, and the next image is there at once. */
function leave(verdict, said, note = "") {
  notices.notice("");
  notices.last(said, "sending");
  undo.hide();
  const { task } = reading;
  const amends = amending && { id: amending.id, revision: amending.revision, reviewer: me.names_reviewers ? reviewer : null };
  const token = amends ? `${amends.id}~${amends.revision}` : task.token;
  sent = { token, task };
  outbox.put({ token, verdict, said, note, amends });
  if (away) notices.banner(away, outbox.size);
  if (!amending) return desk.finish();
  amending = null;
  render();
}

/** Puts the last answer's image back on the page, to be answered again. */
function takeBack() {
  if (amending) return;
  amending = undo.take();
  if (!amending) return;
  render();
  hooks.whyTitle.textContent = `You said: ${amending.said}. Answer again, or keep it with Esc`;
}

function clear() {
  const kept = amending && !reading.choice.touched && !reading.choice.outcome;
  reading.clear();
  if (!kept) return;
  amending = null;
  render();
}

function delivered({ token, verdict, said, amends }, refused, answer) {
  if (!refused && answer?.held_until && sent?.token === token) undo.offer(sent.task, answer, said);
  if (refused && amends) notices.notice(`${notices.sentence(refused.message)} The answer before it stands.`);
  else if (refused?.status === 409) notices.notice(`${notices.sentence(refused.message)} Your answer was not needed.`);
  else if (refused) notices.notice(`The service refused the answer “${said}”: ${refused.message}`);
  else if (verdict && !amends) progress.count();
  notices.last(said, refused ? "not counted" : "saved");
  notices.banner(away, outbox.size);
}

function listen() {
  const pick = (outcome) => () => reading.pick(outcome) && submit();
  const commands = {
    submit,
    skip,
    clear,
    escalate,
    undo: takeBack,
    none_of_these: pick("none_of_these"),
    unusable: pick("unusable"),
    rest: () => reading.rest(),
    down: () => reading.move(1),
    up: () => reading.move(-1),
    zoomIn: () => stage.zoom(1),
    zoomOut: () => stage.zoom(-1),
    help: toggleHelp,
    pan: ({ pan }) => stage.pan(pan),
    label: ({ key }) => reading.press(reading.choice?.labelFor(key)) && submit(),
  };
  addEventListener("keydown", (event) => {
    if (desk.touch()) return event.preventDefault(); // the key that wakes the page does nothing else
    const meant = command(event);
    if (!meant || (event.repeat && !/zoom|pan|down|up/.test(meant.name))) return;
    if (isOpen() && !(meant.name === "help" && hooks.help.open)) return;
    if (event.target.closest("select") || (meant.name === "submit" && event.target.closest("[data-own-enter]"))) return;
    event.preventDefault();
    commands[meant.name](meant);
  });
  for (const kind of ["pointerdown", "pointermove", "wheel"]) addEventListener(kind, () => desk.touch(), { passive: true });
  const clicks = {
    answer: submit,
    skip,
    escalate,
    undo: takeBack,
    clear,
    rest: commands.rest,
    noneOfThese: () => reading.pick("none_of_these"),
    unusable: () => reading.pick("unusable"),
    zoomIn: commands.zoomIn,
    zoomOut: commands.zoomOut,
    helpOpen: toggleHelp,
    helpClose: toggleHelp,
    reviewer: rename,
  };
  for (const [name, act] of Object.entries(clicks)) hooks[name].addEventListener("click", act);
  addEventListener("pagehide", () => desk.leave(true));
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

async function rename() {
  const before = session.reviewer;
  session.reviewer = await askName(before);
  if (session.reviewer !== before) location.reload(); // leaving gives this name's items back
}
