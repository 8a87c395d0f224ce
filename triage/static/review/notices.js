// What the page says about itself: a banner while the service is away, passing notices, the fate of the last answer.

import { hooks } from "./hooks.js";

const NOTICE_MS = 8_000;
let timer = 0;

/** `why` nothing gets through, or null; `kept` answers wait in this browser. */
export function banner(why, kept) {
  const answers = kept === 1 ? "1 answer is kept here and will be sent" : `${kept} answers are kept here and will be sent`;
  hooks.banner.textContent = why ? `${sentence(why)} ${kept ? `${answers}. ` : ""}Trying again.` : "";
  hooks.banner.hidden = !why;
}

/** A notice that passes by itself. */
export function notice(words) {
  clearTimeout(timer);
  hooks.notice.textContent = words;
  hooks.notice.hidden = !words;
  timer = setTimeout(() => (hooks.notice.hidden = true), NOTICE_MS);
}

/** The last answer and whether the service has it: `sending`, `saved` or `refused`. */
export function last(said, fate) {
  hooks.last.textContent = `Last answer: ${said} · ${fate}`;
  hooks.last.dataset.fate = fate;
}

/** A detail of the service as a sentence: "the item is answered already; lease the next one" -> "The item is ...". */
export function sentence(detail) {
  const words = detail.split(";")[0].trim().replace(/\.$/, "");
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}
