// From the keyboard to what is meant. Names of commands only; page.js knows what they do.

const COMMANDS = {
  Enter: "submit",
  Escape: "clear",
  Backspace: "clear",
  ArrowDown: "down",
  ArrowUp: "up",
  n: "none_of_these",
  u: "unusable",
  s: "skip",
  e: "escalate",
  ".": "rest",
  "+": "zoomIn",
  "=": "zoomIn", // the plus key without Shift
  "-": "zoomOut",
  "?": "help",
};
const PANS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `{name, key?, pan?}`, or null for keys that are none of ours. */
export function command(event) {
  if (event.altKey || event.isComposing) return null;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") return { name: "undo" };
  if (event.metaKey) return null;
  if (event.ctrlKey) return event.key === "Enter" ? { name: "submit" } : null;
  if (event.shiftKey && PANS[event.key]) return { name: "pan", pan: PANS[event.key] };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (COMMANDS[key]) return { name: COMMANDS[key] };
  if (/^[a-z0-9]$/.test(key)) return { name: "label", key };
  const digit = /^Digit(\d)$/.exec(event.code); // keyboards whose digits need Shift
  return digit && !event.shiftKey ? { name: "label", key: digit[1] } : null;
}
