// The image and the map over it, in pixel coordinates: Leaflet's latitude is the row, its longitude the column.

import { ClassLayer } from "./class-layer.js";
import { byId } from "./dom.js";
import { count, metres, significant } from "./format.js";

const L = globalThis.L;
const MOST = 5; // zoom steps beyond one image pixel per screen pixel
const FINE = (globalThis.devicePixelRatio ?? 1) > 1 ? 1 : 0; // screens of high resolution get tiles of the next zoom
const PIXEL_CRS = L.extend({}, L.CRS.Simple, { transformation: new L.Transformation(1, 0, 1, 0) });

export class ImageMap {
  /**
   * @param {(row: number, column: number) => void} onPixel called when a pixel is selected
   * @param {() => void} onView called when another part or other pixels are shown
   */
  constructor(onPixel, onView) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.onView = onView;
    this.image = null;
    this.imageLayer = null;
    this.classLayer = null;
    this.marker = null;
    this.leaflet = L.map("map", {
      crs: PIXEL_CRS,
      attributionControl: false,
      zoomControl: false,
      zoomSnap: 0.25,
      wheelPxPerZoomLevel: 100,
      minZoom: -20,
      maxZoom: MOST,
      center: [0, 0],
      zoom: 0,
      zoomAnimation: !still,
      fadeAnimation: false,
      inertia: !still,
    });
    const pane = this.leaflet.createPane("classes");
    pane.style.zIndex = 300;
    pane.style.pointerEvents = "none";
    this.leaflet.on("moveend zoomend resize", () => this.viewChanged());
    this.leaflet.on("mousemove", ({ latlng }) => this.showCoordinates(latlng));
    this.leaflet.on("mouseout", () => this.showCoordinates(null));
    this.leaflet.on("click", ({ latlng }) => this.choose(latlng, onPixel));
    this.leaflet.getContainer().addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.choose(this.leaflet.getCenter(), onPixel);
    });
    byId("zoom-in").onclick = () => this.leaflet.zoomIn();
    byId("zoom-out").onclick = () => this.leaflet.zoomOut();
    byId("zoom-fit").onclick = () => this.fit();
    new ResizeObserver(() => this.leaflet.invalidateSize({ pan: false })).observe(byId("map"));
  }

  /** Shows another image, or none, without a map. */
  showImage(image) {
    this.showJob(null);
    this.imageLayer?.remove();
    this.mark(null);
    this.imageLayer = null;
    this.image = image;
    if (!image) return;
    const bounds = L.latLngBounds([0, 0], [image.height, image.width]);
    const fit = this.leaflet.getBoundsZoom(bounds);
    this.leaflet.setMaxBounds(null); // those of the image before would begin to move the map
    this.leaflet.setMinZoom(Math.min(fit, 0) - 1);
    this.fit();
    this.leaflet.setMaxBounds(bounds.pad(0.6));
    this.imageLayer = L.tileLayer(`${image.tiles}/{z}/{x}/{y}.png`, {
      ...this.tileOptions(image),
      className: "image-tiles",
    }).addTo(this.leaflet);
    this.showCoordinates(null);
  }

  tileOptions({ width, height, max_zoom: zoom }) {
    return {
      tileSize: 256 >> FINE,
      minZoom: -30,
      maxZoom: MOST,
      minNativeZoom: -zoom - FINE,
      maxNativeZoom: -FINE,
      zoomOffset: zoom + FINE,
      bounds: L.latLngBounds([0, 0], [height, width]),
      noWrap: true,
      updateWhenIdle: false,
      keepBuffer: 2,
    };
  }

  /**
   * Shows the map of a job, or none.
   * @param {object|null} job
   * @param {string} tiles URL of the tiles
   * @param {object} view thresholds and colours
   */
  showJob(job, tiles = "", view = null) {
    this.classLayer?.remove();
    this.classLayer = null;
    if (!job) return;
    this.classLayer = new ClassLayer(tiles, {
      ...this.tileOptions(job),
      pane: "classes",
      className: "class-tiles",
      revision: job.revision,
      maxServerZoom: job.max_zoom,
      view,
      onPixels: () => this.onView(),
    }).addTo(this.leaflet);
  }

  setOpacity(opacity) {
    this.leaflet.getPane("classes").style.opacity = opacity;
  }

  fit() {
    if (!this.image) return;
    this.leaflet.fitBounds([
      [0, 0],
      [this.image.height, this.image.width],
    ], { padding: [12, 12], animate: false });
  }

  /** Counts of pixel values in the shown part. */
  histogram() {
    const bounds = this.leaflet.getBounds();
    return this.classLayer?.histogram({
      left: bounds.getWest(),
      right: bounds.getEast(),
      top: bounds.getSouth(),
      bottom: bounds.getNorth(),
    });
  }

  /** Draws a ring around a pixel. */
  mark(at) {
    this.marker?.remove();
    this.marker =
      at &&
      L.marker([at.row + 0.5, at.column + 0.5], {
        icon: L.divIcon({ className: "ring", iconSize: [18, 18], html: false }),
        interactive: false,
        keyboard: false,
      }).addTo(this.leaflet);
  }

  choose(latlng, onPixel) {
    const at = this.pixelAt(latlng);
    if (!at) return;
    this.showCoordinates(latlng);
    onPixel(at.row, at.column);
  }

  pixelAt(latlng) {
    const [row, column] = [Math.floor(latlng.lat), Math.floor(latlng.lng)];
    const inside = this.image && row >= 0 && column >= 0 && row < this.image.height && column < this.image.width;
    return inside ? { row, column } : null;
  }

  viewChanged() {
    this.leaflet.getContainer().classList.toggle("pixelated", this.leaflet.getZoom() >= 1);
    this.showScale();
    this.onView();
  }

  /** Shows row, column and coordinates of a point. */
  showCoordinates(latlng) {
    const at = latlng && this.pixelAt(latlng);
    const parts = at ? [`row ${count(at.row)}, column ${count(at.column)}`] : [];
    if (at && this.image.transform) {
      parts.push(placeText(this.image, latlng.lat, latlng.lng));
      if (this.image.crs) parts.push(this.image.crs);
    }
    byId("coordinates").textContent = parts.join("  ·  ");
  }

  /** Draws a scale bar of a round length: in metres if known, else in pixels. */
  showScale() {
    const bar = byId("scale-bar");
    bar.hidden = !this.image;
    if (!this.image) return;
    const known = this.image.metres_per_pixel;
    const unit = (known ?? 1) / 2 ** this.leaflet.getZoom(); // metres, or pixels of the image, a pixel of the screen
    const longest = 120 * unit;
    const power = 10 ** Math.floor(Math.log10(longest));
    const length = power * [5, 2, 1].find((step) => step * power <= longest);
    bar.lastElementChild.style.width = `${length / unit}px`;
    byId("scale-text").textContent = known ? metres(length) : `${significant(length)} px`;
  }
}

/** The coordinates of a point, rounded to the size of a pixel. */
export function placeText(image, row, column) {
  const [a, b, c, d, e, f] = image.transform;
  const digits = Math.min(9, Math.max(0, 1 - Math.floor(Math.log10(Math.hypot(a, d)))));
  const number = (value) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${number(a * column + b * row + c)}, ${number(d * column + e * row + f)}`;
}
