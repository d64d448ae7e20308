// The tiles of a map. Their bytes are cached, so that another threshold or colour needs no request.

import { PIXELS, colourTable } from "./classes.js";
import { decode } from "./png.js";

const L = globalThis.L;
const SIZE = 256;

export const ClassLayer = L.GridLayer.extend({
  /**
   * @param {string} address URL of the tiles
   * @param {object} options of L.GridLayer, and
   *   zoomOffset: zoom of the server minus zoom of Leaflet,
   *   revision: increases with each finished block,
   *   view: thresholds and colours,
   *   onPixels: called when the shown pixels change
   */
  initialize(address, options) {
    L.setOptions(this, options);
    this.address = address;
    this.tiles = new Map();
    this.table = colourTable(options.view);
    this.on("tileunload", ({ coords }) => {
      const key = this._tileCoordsToKey(coords);
      this.tiles.get(key)?.request?.abort();
      this.tiles.delete(key);
    });
  },

  createTile(coords, done) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIZE;
    const tile = { coords, canvas, pixels: null, image: null, request: null };
    this.tiles.set(this._tileCoordsToKey(coords), tile);
    this.fetchTile(tile).then(() => done(null, canvas));
    return canvas;
  },

  /** Loads and paints a tile; a missing or failed tile stays unchanged. */
  async fetchTile(tile) {
    tile.request?.abort();
    tile.request = new AbortController();
    const { x, y, z } = tile.coords;
    const address = `${this.address}/${z + this.options.zoomOffset}/${x}/${y}.png?r=${this.options.revision}`;
    try {
      const answer = await fetch(address, { signal: tile.request.signal });
      if (answer.status !== 200) return;
      tile.pixels = await decode(await answer.arrayBuffer());
    } catch (error) {
      if (error.name !== "AbortError") console.warn(`The tile ${address} was not shown: ${error.message}`);
      return;
    }
    this.paint(tile);
    this.options.onPixels();
  },

  /** Repaints all loaded tiles with another colour table. */
  repaint(view) {
    performance.mark("repaint-start");
    this.table = colourTable(view);
    for (const tile of this.tiles.values()) this.paint(tile);
    performance.measure("repaint", "repaint-start");
  },

  paint(tile) {
    if (!tile.pixels) return;
    const context = tile.canvas.getContext("2d");
    tile.image ??= context.createImageData(SIZE, SIZE);
    const colours = new Uint32Array(tile.image.data.buffer);
    const { pixels } = tile;
    const { table } = this;
    for (let i = 0; i < colours.length; i++) colours[i] = table[pixels[i]];
    context.putImageData(tile.image, 0, 0);
  },

  /** Loads all tiles again, as blocks were finished. */
  refresh(revision) {
    if (revision === this.options.revision) return;
    this.options.revision = revision;
    for (const tile of this.tiles.values()) this.fetchTile(tile);
  },

  /**
   * Counts pixel values in a part of the map, at the shown zoom.
   * @param {{left: number, top: number, right: number, bottom: number}} part in pixels of the image
   * @returns {Uint32Array} PIXELS counts
   */
  histogram(part) {
    const counts = new Uint32Array(PIXELS);
    for (const { coords, pixels } of this.tiles.values()) {
      if (!pixels || coords.z !== this._tileZoom) continue;
      const step = 2 ** (coords.z + this.options.zoomOffset - this.options.maxServerZoom); // tile pixels a pixel
      const edge = (value, origin) => Math.min(SIZE, Math.max(0, Math.round(value * step - origin * SIZE)));
      const [left, right] = [edge(part.left, coords.x), edge(part.right, coords.x)];
      for (let row = edge(part.top, coords.y); row < edge(part.bottom, coords.y); row++) {
        for (let at = row * SIZE + left; at < row * SIZE + right; at++) counts[pixels[at]]++;
      }
    }
    return counts;
  },
});
