// Light and dark colours, and the panel as a sheet on small screens.

import { byId } from "./dom.js";

const SNAPS = { low: 0.16, half: 0.5, high: 0.92 }; // relative to the height of the screen

export function setUpTheme() {
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    button.title = isDark() ? "Light colours" : "Dark colours";
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // Storage may be disabled; then the choice lasts until a reload.
    }
    show();
  });
  system.addEventListener("change", show);
  show();
}

/** Records whether the keyboard was used last, for the crosshair of the map: Leaflet moves the focus at clicks, too. */
export function watchInput() {
  const { dataset } = document.documentElement;
  addEventListener("keydown", () => (dataset.input = "keys"), true);
  addEventListener("pointerdown", () => (dataset.input = "pointer"), true);
}

/** On small screens, the grip resizes the panel, and the links above it scroll to its parts. */
export function setUpSheet() {
  const [grip, body] = [byId("grip"), byId("panel-body")];
  let snap = "half";
  const height = (share) => document.documentElement.style.setProperty("--sheet", `${100 * share}dvh`);
  const go = (name) => {
    snap = name;
    height(SNAPS[name]);
    grip.setAttribute("aria-expanded", String(name !== "low"));
    document.documentElement.dataset.sheet = name;
  };
  let start = null;
  let moved = false;
  grip.addEventListener("pointerdown", (event) => {
    start = event.clientY;
    moved = false;
    grip.setPointerCapture(event.pointerId);
  });
  grip.addEventListener("pointermove", (event) => {
    if (start === null || Math.abs(event.clientY - start) < 6) return;
    moved = true;
    height(Math.min(SNAPS.high, Math.max(0.1, 1 - event.clientY / innerHeight)));
  });
  const release = (event) => {
    if (start === null) return;
    start = null;
    if (!moved) return;
    const share = 1 - event.clientY / innerHeight;
    const distance = (name) => Math.abs(SNAPS[name] - share);
    go(Object.keys(SNAPS).reduce((a, b) => (distance(a) <= distance(b) ? a : b)));
  };
  grip.addEventListener("pointerup", release);
  grip.addEventListener("pointercancel", release);
  grip.addEventListener("click", () => {
    if (!moved) go({ low: "half", half: "high", high: "low" }[snap]);
    moved = false;
  });
  byId("tabs").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault(); // the URL must keep the shown map
    if (snap === "low") go("half");
    showPart(link.getAttribute("href").slice(1));
    body.focus({ preventScroll: true });
  });
  go("half");
}

/** Scrolls the panel to one of its parts. */
export function showPart(id) {
  const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const body = byId("panel-body");
  const top = byId(id).offsetTop - body.offsetTop;
  body.scrollTo({ top, behavior: smooth ? "smooth" : "auto" });
}

export const isSmall = () => matchMedia("(max-width: 760px)").matches;
