// Selecting an image: from the list of open images, by upload, or from the server's folder.

import { api, upload } from "./api.js";
import { announce, byId, complain, element, icon, list } from "./dom.js";
import { bytes, count, metres, plural } from "./format.js";

export class Images {
  /**
   * @param {object} about options of the server
   * @param {(image: object) => void} onOpen called with an image that was uploaded or opened
   * @param {(id: string) => void} onChoose called with the id of a selected image
   * @param {(image: object) => void} onRemove
   */
  constructor(about, onOpen, onChoose, onRemove) {
    this.about = about;
    this.onOpen = onOpen;
    this.running = null;
    byId("image").addEventListener("change", () => onChoose(byId("image").value));
    byId("remove").addEventListener("click", () => onRemove(this.shown));
    byId("upload").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", () => {
      if (byId("file").files.length) this.send(byId("file").files[0]);
      byId("file").value = "";
    });
    byId("upload-cancel").addEventListener("click", () => this.running?.cancel());
    this.acceptDrops();
    if (about.root !== null) new Browser(onOpen);
  }

  /** Shows the list of images, and the properties of the shown image. */
  show(images, shown) {
    this.shown = shown;
    byId("image").replaceChildren(
      ...images.map((one) =>
        element("option", { value: one.id, selected: one.id === shown?.id }, one.example ? `${one.name} (example)` : one.name),
      ),
    );
    byId("remove").hidden = !shown || shown.example;
    byId("image-facts").textContent = shown ? facts(shown) : "";
    list(byId("image-remarks"), shown?.remarks ?? []);
    complain("file", shown?.state === "failed" ? shown.error : "");
  }

  async send(file) {
    complain("file");
    const most = this.about.max_upload_mb;
    if (most && file.size > most * 1e6) {
      const way = this.about.root === null ? "Give it to segearth web on the command line." : "Open it as a file.";
      return complain("file", `${file.name} has ${bytes(file.size)}: an upload has at most ${count(most)} MB. ${way}`);
    }
    this.running?.cancel();
    byId("upload-meter").hidden = false;
    announce(`Uploading ${file.name}`);
    const running = upload(file, (sent, total) => {
      byId("upload-progress").value = sent / total;
      byId("upload-text").textContent = sent < total ? `${bytes(sent)} of ${bytes(total)}` : "Looking at the image…";
    });
    this.running = running;
    try {
      this.onOpen(await running.done);
    } catch (error) {
      if (error) complain("file", error.message); // else it was cancelled
    } finally {
      if (this.running === running) {
        this.running = null;
        byId("upload-meter").hidden = true;
      }
    }
  }

  acceptDrops() {
    let inside = 0; // dragenter and dragleave events of nested elements are counted
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    const enter = (change) => (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      inside += change;
      byId("drop").hidden = inside <= 0;
    };
    addEventListener("dragenter", enter(1));
    addEventListener("dragleave", enter(-1));
    addEventListener("dragover", enter(0));
    addEventListener("drop", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      inside = 0;
      byId("drop").hidden = true;
      const { files } = event.dataTransfer;
      if (files.length === 1) this.send(files[0]);
      else complain("file", `${files.length} files were dropped: one image at a time, please.`);
    });
  }
}

function facts(image) {
  if (image.state === "preparing") return "Preparing the first view…";
  if (image.state === "failed") return "";
  const parts = [`${count(image.width)} × ${count(image.height)} px`, plural(image.bands, "band")];
  if (image.crs) parts.push(image.crs);
  if (image.metres_per_pixel) parts.push(`${metres(image.metres_per_pixel)} a pixel`);
  const large = "Each map of it runs the model anew: it is too large for its encoding to be kept.";
  return parts.join(" · ") + (image.keeps_encoding ? "" : `. ${large}`);
}

/** The dialog with the folders and files in the server's folder. */
class Browser {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.dialog = byId("browser");
    byId("browse").hidden = false;
    byId("browse").addEventListener("click", () => {
      this.dialog.showModal();
      this.go("");
    });
    byId("browser-close").addEventListener("click", () => this.dialog.close());
    byId("path-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.open(byId("path").value.trim());
    });
  }

  async go(path) {
    complain("path");
    try {
      const { folders, files } = await api.files(path);
      const below = (name) => (path ? `${path}/${name}` : name);
      const up = path.split("/").slice(0, -1).join("/");
      byId("path").value = path ? `${path}/` : "";
      const rows = [
        ...(path ? [entry("folder", "..", "One folder up", () => this.go(up))] : []),
        ...folders.map((name) => entry("folder", name, "", () => this.go(below(name)))),
        ...files.map((one) => entry("picture", one.name, bytes(one.bytes), () => this.open(below(one.name)))),
      ];
      byId("files").replaceChildren(...(rows.length ? rows : [element("li", { class: "empty" }, "No images here.")]));
      byId("files").querySelector("button")?.focus();
    } catch (error) {
      complain("path", error.message);
    }
  }

  async open(path) {
    complain("path");
    byId("path").value = path;
    try {
      const image = await api.open(path);
      this.dialog.close();
      this.onOpen(image);
    } catch (error) {
      complain("path", error.message);
    }
  }
}

function entry(symbol, name, note, onClick) {
  const button = element("button", { type: "button" }, icon(symbol), element("span", {}, name), element("small", {}, note));
  button.addEventListener("click", onClick);
  return element("li", {}, button);
}
