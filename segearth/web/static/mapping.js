// The form that starts a map, its progress, and its result.

import { ended } from "./api.js";
import { announce, byId, complain, element, list } from "./dom.js";
import { count, duration, plural } from "./format.js";

const FIELDS = ["classes", "background", "scale"];

export class Mapping {
  /**
   * @param {object[]} presets class lists with their names
   * @param {(request: object) => Promise<void>} onMap called with the values of the form
   * @param {() => void} onCancel
   */
  constructor(presets, onMap, onCancel) {
    this.customText = ""; // the text before a class list was selected
    const [classes, preset] = [byId("classes"), byId("preset")];
    preset.append(
      element("option", { value: "" }, "Class lists"),
      ...presets.map((one, index) => element("option", { value: String(index) }, one.name)),
    );
    preset.addEventListener("change", () => {
      classes.value = preset.value === "" ? this.customText : lines(presets[Number(preset.value)].classes);
      this.changed();
    });
    classes.addEventListener("input", () => {
      preset.value = "";
      this.customText = classes.value;
      this.changed();
    });
    classes.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("form").requestSubmit();
    });
    byId("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      if (byId("map-it").disabled) return;
      this.clear();
      byId("map-it").disabled = true;
      try {
        await onMap(this.request());
      } catch (error) {
        this.complain(error);
      } finally {
        byId("map-it").disabled = false;
      }
    });
    byId("cancel").addEventListener("click", onCancel);
  }

  /** Shows the classes of a map, unless the user has started to edit the text. */
  suggest(text) {
    if (byId("classes").value.trim() && this.customText) return;
    byId("classes").value = lines(text);
  }

  changed() {
    complain("classes");
    sessionStorage.setItem("classes", byId("classes").value);
  }

  /** Restores the text before a reload. */
  restore() {
    this.customText = sessionStorage.getItem("classes") ?? "";
    byId("classes").value = this.customText;
  }

  request() {
    const request = { classes: byId("classes").value };
    const background = byId("background").value.trim();
    const scale = byId("scale").value.trim().replace(",", ".");
    if (background) request.background = background === "none" ? false : background;
    if (scale) request.scale = Number.isNaN(Number(scale)) ? scale : Number(scale);
    return request;
  }

  clear() {
    for (const field of [...FIELDS, "job"]) complain(field);
  }

  complain(error) {
    const field = FIELDS.includes(error.field) ? error.field : "job";
    if (["background", "scale"].includes(field)) byId("options").open = true;
    complain(field, error.message);
    if (field !== "job") byId(field).focus();
  }

  /**
   * Shows progress and remarks of a job.
   * @param {object|null} job
   * @param {string[]} known remarks that are shown elsewhere
   */
  show(job, known = []) {
    const [meter, stage] = [byId("job-meter"), byId("stage-progress")];
    const going = Boolean(job) && !ended(job);
    meter.hidden = !going;
    stage.hidden = !going;
    byId("cancel").hidden = !going;
    complain("job", job?.state === "failed" ? job.error : "");
    list(byId("job-remarks"), job ? remarks(job).filter((remark) => !known.includes(remark)) : []);
    if (!going) return;
    const { done, total } = job.progress ?? {};
    for (const bar of [byId("job-progress"), stage]) {
      if (job.state === "running" && total) bar.value = done / total;
      else bar.removeAttribute("value");
    }
    byId("job-text").textContent = progressText(job);
    const left = job.progress?.seconds_left;
    byId("job-left").textContent = job.state === "running" && left != null ? `${duration(left)} left` : "";
    announce(`${byId("job-text").textContent}. ${byId("job-left").textContent}`, false);
  }
}

/** A class list as text, one class per line. */
function lines(text) {
  return text
    .split(/[;\n]/)
    .map((line) => line.trim())
    .filter(Boolean)
    .join("\n");
}

function progressText(job) {
  if (job.state === "queued") return job.position ? `Waiting: number ${count(job.position)} in the queue` : "Waiting";
  const { done, total, megapixels, megapixels_total: all } = job.progress ?? {};
  if (!total) return "Starting";
  const size = all >= 10 ? `, ${count(Math.round(megapixels))} of ${count(Math.round(all))} megapixels` : "";
  return `${count(done)} of ${plural(total, "block")}${size}`;
}

function remarks(job) {
  const all = [...(job.remarks ?? [])];
  if (job.state === "cancelled") all.unshift("Cancelled. The blocks that were finished stay on the map.");
  if (job.state === "done" && job.reused) {
    all.unshift(`The image was already encoded: these words took ${duration(job.progress.seconds)}.`);
  }
  if (job.failed_blocks) all.unshift(`${plural(job.failed_blocks, "block")} could not be mapped and stay empty.`);
  return all;
}
