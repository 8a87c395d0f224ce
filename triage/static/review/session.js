// What this browser remembers: the reviewer's name for good, the service's key and the count until the tab is closed.

const NAME = "secondreader.reviewer";
const KEY = "secondreader.key";
const ANSWERED = "secondreader.answered";

export const session = {
  get reviewer() {
    return localStorage.getItem(NAME);
  },
  set reviewer(name) {
    localStorage.setItem(NAME, name);
  },
  get key() {
    return sessionStorage.getItem(KEY);
  },
  set key(key) {
    sessionStorage.setItem(KEY, key);
  },
  get answered() {
    return Number(sessionStorage.getItem(ANSWERED) ?? 0);
  },
  set answered(count) {
    sessionStorage.setItem(ANSWERED, String(count));
  },
};
