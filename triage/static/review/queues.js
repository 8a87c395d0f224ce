// Which queue this page reads.

import { hooks } from "./hooks.js";

/** The queue that the address names (`?queue=`), else the fullest; where there are several they can be chosen from. */
export function chosenQueue(all) {
  const fullest = all.reduce((best, each) => (each.waiting > best.waiting ? each : best), all[0]);
  const name = new URLSearchParams(location.search).get("queue") ?? fullest?.queue ?? "default.review";
  const names = [...new Set([...all.map((each) => each.queue), name])];
  hooks.queue.replaceChildren(...names.map((each) => new Option(short(each), each, false, each === name)));
  hooks.queue.hidden = names.length < 2;
  hooks.queueName.hidden = names.length >= 2;
  hooks.queueName.textContent = short(name);
  hooks.queue.addEventListener("change", () => location.assign(`?queue=${encodeURIComponent(hooks.queue.value)}`));
  return name;
}

function short(queue) {
  return queue.replace(/\.review$/, "");
}
