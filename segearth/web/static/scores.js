// The scores of all classes at one pixel, as bars.

import { api } from "./api.js";
import { thresholdOf } from "./classes.js";
import { byId, element } from "./dom.js";
import { count } from "./format.js";
import { placeText } from "./map.js";

export class Scores {
  /** @param {(at: {row: number, column: number}|null) => void} onMark called when another pixel, or none, is shown */
  constructor(onMark) {
    this.onMark = onMark;
    this.request = null;
    this.shown = null;
    byId("scores-close").onclick = () => {
      this.hide();
      byId("map").focus();
    };
    byId("scores").addEventListener("keydown", (event) => {
      if (event.key === "Escape") byId("scores-close").click();
    });
  }

  hide() {
    this.request?.abort();
    this.shown = null;
    byId("scores").hidden = true;
    this.onMark(null);
  }

  /** Requests and shows the scores of a pixel. */
  async ask(job, image, view, row, column) {
    this.request?.abort();
    this.request = new AbortController();
    this.onMark({ row, column });
    byId("scores").hidden = false;
    try {
      this.shown = { scores: await api.pixel(job.id, row, column, this.request.signal), image, view };
      this.draw();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.shown = null;
      byId("scores-body").replaceChildren(place(row, column), element("p", { class: "hint" }, error.message));
    }
  }

  /** Redraws the scores after a change of a colour or the threshold. */
  draw() {
    if (!this.shown) return;
    const { scores, image, view } = this.shown;
    const best = scores.scores[0];
    const uncertain = best && best.score < thresholdOf(view.classes[best.index], view);
    const background = view.classes.find((one) => one.background);
    const where = image.transform ? placeText(image, scores.row + 0.5, scores.column + 0.5) : null;
    byId("scores-body").replaceChildren(
      place(scores.row, scores.column, where),
      element("ol", { class: "bars" }, ...scores.scores.map((one) => bar(one, view))),
      ...(uncertain
        ? [element("p", { class: "hint" }, `Below the threshold: ${background ? background.name : "unclassified"}.`)]
        : []),
    );
  }
}

function place(row, column, where) {
  const line = element("p", { class: "place" }, `row ${count(row)}, column ${count(column)}`);
  if (where) line.append(element("br"), where);
  return line;
}

function bar({ index, name, score }, view) {
  const length = element("i");
  length.style.width = `${100 * score}%`;
  length.style.background = view.colours[index];
  const track = element("div", { class: "bar" }, length);
  const threshold = thresholdOf(view.classes[index], view);
  if (threshold > 0) {
    const tick = element("b");
    tick.style.left = `${100 * threshold}%`;
    track.append(tick);
  }
  return element(
    "li",
    {},
    element("span", { class: "bar-name", title: name }, name),
    element("span", { class: "bar-score" }, score.toFixed(3)),
    track,
  );
}
