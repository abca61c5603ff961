// The texts that the scripts show, in the language of the page, which carries them.

const TEXTS = JSON.parse(document.body.dataset.texts);

// A text with its values, or undefined if there is none of this name.
export const text = (name, values = {}) =>
  TEXTS[name]?.replace(/\{(\w+)\}/g, (placeholder, key) => values[key] ?? placeholder);

export const count = (number) => number.toLocaleString(document.documentElement.lang);
