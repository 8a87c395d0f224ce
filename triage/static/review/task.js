// One leased item, made ready before it is its turn: the picture decoded, the model's standing looked up.

import { Refused } from "./api.js";

const rulesByDigest = new Map();

/**
 * `{token, item, labels, groups, escalates, picture, classes}`; the last two are promises. `picture` rejects with Refused. `looksUp`: the
 * reviewer may read predictions and rules; without, suggestions are shown without the thresholds they stand under.
 */
export function prepare(api, connection, looksUp, item, labels, groups, escalates) {
  const task = {
    token: item.token,
    item,
    labels,
    groups,
    escalates,
    picture: connection.insist(() => api.image(item.image)).then(decoded),
    classes:
      looksUp && item.suggestions.length ? connection.insist(() => classes(api, item.prediction)) : Promise.resolve({}),
  };
  task.picture.catch(() => {}); // whoever shows it hears of it; until then it is no unhandled failure
  task.classes.catch(() => {});
  return task;
}

/** What each label may do under the rules that read this image: `{id: {state, threshold}}`. */
async function classes(api, id) {
  const { model } = await api.prediction(id);
  if (!model) return {};
  if (!rulesByDigest.has(model.rules)) rulesByDigest.set(model.rules, await api.rules(model.rules));
  return rulesByDigest.get(model.rules).classes;
}

async function decoded(blob) {
  const picture = new Image();
  picture.src = URL.createObjectURL(blob);
  picture.draggable = false;
  try {
    await picture.decode();
  } catch {
    URL.revokeObjectURL(picture.src);
    throw new Refused(200, "the browser cannot read the picture");
  }
  return picture;
}
