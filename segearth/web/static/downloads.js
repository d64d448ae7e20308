// Downloads of a map's files, with the current threshold and colours.

import { api, ApiError } from "./api.js";
import { announce, byId, complain, element, icon } from "./dom.js";

const FILES = [
  ["labels.tif", "Labels", "GeoTIFF"],
  ["polygons.gpkg", "Polygons", "GeoPackage"],
  ["overlay.png", "Overlay", "PNG"],
  ["summary.json", "Summary", "JSON"],
];

export class Downloads {
  constructor() {
    this.job = null;
    this.view = null;
    this.buttons = FILES.map(([file, what, format]) => {
      const button = element(
        "button",
        { type: "button", class: "button download", disabled: true },
        icon("save"),
        element("span", {}, what, element("small", {}, format)),
      );
      button.addEventListener("click", () => this.save(file, what, button));
      return button;
    });
    byId("downloads").append(...this.buttons);
  }

  show(job, view) {
    this.job = job;
    this.view = view;
    for (const button of this.buttons) button.disabled = job?.state !== "done";
    complain("downloads");
    this.hint();
  }

  hint() {
    let text = "There are files once the map is done.";
    if (this.job?.state === "done") {
      text = `With the threshold${this.view.moved ? ` ${this.view.threshold.toFixed(2)}` : ""} and the colours of the legend.`;
      if (this.view.hidden.size) text += " Hidden classes are in the files.";
    }
    byId("downloads-hint").textContent = text;
  }

  async save(file, what, button) {
    const query = new URLSearchParams();
    if (this.view.moved) query.set("threshold", this.view.threshold);
    this.view.colours.forEach((colour, index) => {
      if (colour !== this.job.classes[index].colour.toLowerCase()) query.append("colour", `${index}:${colour.slice(1)}`);
    });
    const address = api.file(this.job.id, file, query);
    complain("downloads");
    button.setAttribute("aria-busy", "true");
    announce(`${what}: being made`);
    try {
      await this.check(address);
      element("a", { href: address, download: "" }).click();
    } catch (error) {
      complain("downloads", error.message);
    } finally {
      button.removeAttribute("aria-busy");
    }
  }

  /** Requests the file first, so that an error is shown here instead of being saved as the file. */
  async check(address) {
    let answer;
    try {
      answer = await fetch(address, { method: "HEAD" });
      if (answer.ok) return;
      answer = await fetch(address);
    } catch {
      throw new ApiError("The server does not answer. Is segearth web still running?");
    }
    const { error } = await answer.json().catch(() => ({}));
    throw new ApiError(error ?? `The server answers with error ${answer.status}.`);
  }
}
