// The classes with their colours, shares and switches, and the two sliders.

import { hasUnclassified, pixelsOfClasses } from "./classes.js";
import { byId, element, icon } from "./dom.js";
import { area, percent } from "./format.js";

export class Legend {
  /** @param {() => void} onChange called after a change of the view: a colour, a hidden class, the threshold */
  constructor(onChange) {
    this.onChange = onChange;
    this.view = null;
    this.rows = [];
    const threshold = byId("threshold");
    threshold.addEventListener("input", () => {
      this.view.threshold = Number(threshold.value);
      this.view.moved = true;
      this.showThreshold();
      onChange();
    });
    byId("threshold-reset").addEventListener("click", () => {
      this.view.threshold = this.job.threshold;
      this.view.moved = false;
      threshold.value = this.view.threshold;
      this.showThreshold();
      onChange();
      threshold.focus();
    });
    fill(byId("opacity"));
  }

  /**
   * Shows the classes of a job.
   * @param {object} job
   * @param {object} view the view; modified in place
   */
  show(job, view) {
    this.job = job;
    this.view = view;
    byId("legend-empty").hidden = Boolean(job);
    byId("legend-body").hidden = !job;
    this.rows = [];
    if (!job) return byId("legend").replaceChildren();
    this.rows = view.classes.map((one, index) => this.row(one, index));
    this.unclassified = unclassifiedRow();
    byId("legend").replaceChildren(...this.rows.map(({ row }) => row), this.unclassified.row);
    byId("threshold").value = view.threshold;
    this.showThreshold();
  }

  row(one, index) {
    const { view } = this;
    const shown = element("input", { type: "checkbox", checked: !view.hidden.has(index), "aria-label": `Show ${one.name}` });
    const colour = element("input", { type: "color", value: view.colours[index], "aria-label": `Colour of ${one.name}` });
    const bar = element("i");
    bar.style.background = view.colours[index];
    const name = element("th", { scope: "row", class: "name", title: one.names.join(", ") }, element("span", {}, one.name));
    const notes = [];
    if (one.background) notes.push("background");
    if (one.threshold != null) notes.push(`from ${one.threshold}`);
    if (!notes.length && one.names.length > 1) notes.push(one.names.slice(1).join(", "));
    if (notes.length) name.append(element("small", {}, notes.join(" · ")));
    name.append(element("div", { class: "share" }, bar));
    const [inView, inScene] = [element("td", { class: "number" }), element("td", { class: "number" })];
    const row = element(
      "tr",
      { class: shown.checked ? "" : "off" },
      element("td", {}, element("label", { class: "eye" }, shown, icon("eye"), icon("eye-off"))),
      element("td", {}, colour),
      name,
      inView,
      inScene,
    );
    shown.addEventListener("change", () => {
      if (shown.checked) view.hidden.delete(index);
      else view.hidden.add(index);
      row.classList.toggle("off", !shown.checked);
      this.onChange();
    });
    colour.addEventListener("input", () => {
      view.colours[index] = colour.value;
      bar.style.background = colour.value;
      this.onChange();
    });
    return { row, inView, inScene, bar };
  }

  showThreshold() {
    const { view } = this;
    const background = view.classes.find((one) => one.background);
    const own = !view.moved && view.classes.some((one) => one.threshold != null);
    byId("threshold-value").textContent = view.threshold.toFixed(2);
    byId("threshold-reset").hidden = !view.moved;
    fill(byId("threshold"));
    const becomes = background ? `become ${background.name}` : "stay unclassified";
    byId("threshold-hint").textContent =
      own ? "Until this is moved, some classes have their own." : `Lower scores ${becomes}.`;
  }

  /**
   * Shows shares.
   * @param {Uint32Array|undefined} inView counts of pixel values in the shown part
   * @param {{classes: number[][], area_m2_per_pixel: number|null}|null} inScene counts of the whole image
   */
  showShares(inView, inScene) {
    if (!this.rows.length) return;
    const { view } = this;
    const pixels = inView && pixelsOfClasses(view, (index, byte) => inView[index * 256 + byte]);
    const scene = inScene && pixelsOfClasses(view, (index, byte) => inScene.classes[index]?.[byte - 1] ?? 0);
    this.unclassified.row.hidden = !hasUnclassified(view);
    [...this.rows, this.unclassified].forEach(({ inView: a, inScene: b, bar }, index) => {
      const share = shareOf(scene, index);
      a.textContent = percent(shareOf(pixels, index));
      b.textContent = percent(share);
      b.title = scene && inScene.area_m2_per_pixel ? area(scene[index] * inScene.area_m2_per_pixel) : "";
      if (bar) bar.style.width = `${100 * (share || 0)}%`;
    });
  }
}

const shareOf = (pixels, index) => (pixels ? pixels[index] / pixels.reduce((a, b) => a + b, 0) : Number.NaN);

function unclassifiedRow() {
  const [inView, inScene] = [element("td", { class: "number" }), element("td", { class: "number" })];
  const name = element("th", { scope: "row", class: "name" }, element("span", {}, "unclassified"));
  const swatch = element("td", {}, element("i", { class: "swatch-none" }));
  return { row: element("tr", { class: "unclassified" }, element("td"), swatch, name, inView, inScene), inView, inScene };
}

/** Fills the track of a slider up to its thumb. */
export function fill(slider) {
  slider.style.setProperty("--fill", `${(100 * (slider.value - slider.min)) / (slider.max - slider.min)}%`);
}
