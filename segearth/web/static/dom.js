// Helpers that build the page. Text is set as text only, so that names and messages never become HTML.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * Creates an element.
 * @param {string} tag tag name
 * @param {object} properties of the element; `class` and names with "-" are attributes, null leaves one out
 * @param {...(Node|string)} children nodes, or strings as text
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value == null) continue;
    if (name === "class" || name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** An icon, from the symbols at the end of index.html. */
export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("class", `icon icon-${name}`);
  made.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  made.append(use);
  return made;
}

/** Shows an error beside the control that caused it; an empty text removes it. */
export function complain(id, sentence = "") {
  byId(`${id}-error`).textContent = sentence;
  const control = byId(id);
  if (!control) return;
  if (sentence) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
}

/** Fills a list with sentences. */
export function list(target, sentences) {
  target.replaceChildren(...sentences.map((sentence) => element("li", {}, sentence)));
}

/** Announces a text to screen readers, at most every few seconds. */
let last = 0;
export function announce(sentence, always = true) {
  const now = performance.now();
  if (!always && now - last < 8000) return;
  last = now;
  byId("announcer").textContent = sentence;
}

/** Throttles a function to one call per `wait` ms, including the last call. */
export function throttled(wait, call) {
  let timer = null;
  let again = false;
  return function run() {
    if (timer !== null) {
      again = true;
      return;
    }
    call();
    timer = setTimeout(() => {
      timer = null;
      if (again) {
        again = false;
        run();
      }
    }, wait);
  };
}
