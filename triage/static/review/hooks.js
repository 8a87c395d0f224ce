// Every element that scripts touch, in one map. The markup names them with data-hook; a missing one fails at once.

const NAMES = [
  "answer", "answered", "banner", "case", "choices", "clear", "earlier", "escalate", "frame", "help", "helpClose", "helpOpen", "keyDialog",
  "keyForm", "keyInput", "keyWrong", "last", "nameDialog", "nameForm", "nameInput", "noneOfThese",
  "noteDialog", "noteForm", "noteInput", "notice",
  "oldest", "queue", "queueName", "reasons", "received", "rest", "reviewer", "screen", "skip", "stoppedWhy", "undo",
  "undoBar", "undoSaid", "unusable",
  "waiting", "whyTitle", "zoomIn", "zoomOut",
];

export const hooks = Object.freeze(Object.fromEntries(NAMES.map((name) => [name, find(name)])));

function find(name) {
  const element = document.querySelector(`[data-hook="${name}"]`);
  if (!element) throw new Error(`index.html has no data-hook="${name}"`);
  return element;
}
