// Lengths of time as people say them.

const STEPS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** Seconds -> "3 min"; rounds down, because "1 h" for 59 minutes would worry somebody. */
export function age(seconds) {
  const [size, unit] = STEPS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}
