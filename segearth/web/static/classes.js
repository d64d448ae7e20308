// Pixel values of a map: class · 256 + confidence, where confidence 0 is nodata and 1 to 255 are scores from 0 to 1.
// A pixel below its threshold is the background, or unclassified if there is no background.

const STEPS = 254;
const HALF_STEP = Math.fround(0.5 / STEPS + 1e-6); // tolerance of rounding, as in segearth relabel
export const PIXELS = 1 << 16; // number of pixel values

/** The score of a confidence byte, in float32 as in the maps. */
const scoreOf = (byte) => Math.fround((byte - 1) / STEPS);

/**
 * The current view of a map.
 * @typedef {{classes: object[], first: number, threshold: number, moved: boolean, colours: string[], hidden: Set<number>}} View
 * classes as sent by the server; the threshold of the map; the current threshold, for all classes once it was moved;
 * a colour "#rrggbb" for each class
 */

export const thresholdOf = (one, view) => (view.moved ? view.threshold : (one.threshold ?? view.threshold));

const backgroundOf = (view) => view.classes.findIndex((one) => one.background);

/** Whether unclassified pixels are possible. */
export const hasUnclassified = (view) =>
  backgroundOf(view) < 0 && view.classes.some((one) => thresholdOf(one, view) > 0);

/**
 * Whether a pixel keeps its best class, as in the files of the map: their scores are rounded, and the original labels
 * are kept where they are possible.
 */
function isCertain(byte, first, threshold) {
  const score = scoreOf(byte);
  return Math.fround(score >= first ? score + HALF_STEP : score - HALF_STEP) >= threshold;
}

/**
 * The shown class for each confidence of each class.
 * @returns {Int16Array[]} for each class 256 indices, -1 for nodata and C for unclassified
 */
export function labelTable(view) {
  const background = backgroundOf(view);
  const uncertain = background < 0 ? view.classes.length : background;
  return view.classes.map((one, index) => {
    const [first, threshold] = [one.threshold ?? view.first, thresholdOf(one, view)].map(Math.fround);
    const labels = new Int16Array(256).fill(-1);
    for (let byte = 1; byte < 256; byte++) labels[byte] = isCertain(byte, first, threshold) ? index : uncertain;
    return labels;
  });
}

/** The colour of every pixel value for ImageData; hidden, unclassified and nodata pixels are transparent. */
export function colourTable(view) {
  const table = new Uint32Array(PIXELS);
  const colours = view.colours.map((colour, index) => (view.hidden.has(index) ? 0 : littleEndian(colour)));
  labelTable(view).forEach((labels, index) => {
    for (let byte = 1; byte < 256; byte++) table[index * 256 + byte] = colours[labels[byte]] ?? 0;
  });
  return table;
}

/** "#rrggbb" as an opaque pixel of ImageData in little-endian order, as on all processors of browsers. */
function littleEndian(colour) {
  const rgb = Number.parseInt(colour.slice(1), 16);
  return ((255 << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

/**
 * Counts the pixels of each class.
 * @param {(index: number, byte: number) => number} counts pixels with a class and confidence
 * @returns {number[]} counts of the classes, then of unclassified pixels
 */
export function pixelsOfClasses(view, counts) {
  const pixels = new Array(view.classes.length + 1).fill(0);
  labelTable(view).forEach((labels, index) => {
    for (let byte = 1; byte < 256; byte++) pixels[labels[byte]] += counts(index, byte);
  });
  return pixels;
}
