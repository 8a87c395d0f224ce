// The dialogs: who is reviewing, the service's key, a note, help.

import { hooks } from "./hooks.js";

export function isOpen() {
  return document.querySelector("dialog[open]") !== null;
}

/** Resolves to the reviewer's name; with `current` the dialog may be left, which gives `current` back. */
export function askName(current = null) {
  hooks.nameInput.value = current ?? "";
  return ask(hooks.nameDialog, hooks.nameForm, hooks.nameInput, current);
}

/** Resolves to a key; `wrong`: the one before was refused. */
export function askKey(wrong) {
  hooks.keyInput.value = "";
  hooks.keyWrong.hidden = !wrong;
  return ask(hooks.keyDialog, hooks.keyForm, hooks.keyInput, null);
}

/** Resolves to a note for the adjudicators, null when it is left. */
export function askNote() {
  hooks.noteInput.value = "";
  return ask(hooks.noteDialog, hooks.noteForm, hooks.noteInput, undefined);
}

export function toggleHelp() {
  if (hooks.help.open) hooks.help.close();
  else if (!isOpen()) hooks.help.showModal();
}

function ask(dialog, form, input, otherwise) {
  return new Promise((resolve) => {
    const listening = new AbortController();
    const done = (value) => {
      listening.abort();
      dialog.close();
      resolve(value);
    };
    const { signal } = listening;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value.trim()) done(input.value.trim());
    }, { signal });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      if (otherwise !== null) done(otherwise);
    }, { signal });
    dialog.showModal();
    input.select();
  });
}
