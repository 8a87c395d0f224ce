// Why an image came to a person, in words. A test compares the names with the service's own list.

export const REASONS = Object.freeze({
  none_fired: "No category was certain enough.",
  undecided_label: "At least one finding could not be settled either way.",
  atypical: "Unlike anything the model was trained on.",
  conflict: "Two categories that exclude each other both look right.",
  class_suspended: "The category it looks like does not answer by itself at the moment.",
  always_review: "This category is always read by a person.",
  out_of_scope: "Taken under conditions the model was not made for.",
  audit: "Chosen at random for a second reading.",
  gold: "Chosen for a second reading.",
  model_unavailable: "The model could not be asked.",
  control_stale: "The service could not be sure of its current settings.",
  site_capturing: "This site is still gathering images; nothing is answered by the model.",
  site_assisting: "At this site the model only suggests; a person decides.",
  case_open: "The rest of its case is still to come.",
  case_undecided: "Another image of this case needs a person, so all of them do.",
});

export const WHY = "Why a person reads this";

/** What stands there instead of reasons when the reading is blind. */
export const BLIND = Object.freeze({
  title: "A blind reading",
  why: "What the model said is hidden, so that the answer is yours alone.",
});

/** What others answered beside labels, as an adjudicator reads it. */
export const EARLIER = Object.freeze({
  none_of_these: "none of these",
  unusable: "unusable",
  new_label: "a new label",
  escalated: "left it to you",
});

/** The sentence for a reason; one that a newer service sends is shown by its name. */
export function inWords(reason) {
  return REASONS[reason] ?? `${reason.replaceAll("_", " ")}.`;
}
