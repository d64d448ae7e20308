// What the bytes of a map mean: a pixel is class · 256 + confidence, where confidence 0 is nodata and 1 to 255 are
// scores from 0 to 1. Below its threshold a pixel is the background, or unclassified where no class is that.

const STEPS = 254;
const HALF_STEP = Math.fround(0.5 / STEPS + 1e-6); // what rounding hides, as in segearth relabel
export const PIXELS = 1 << 16; // how many values a pixel can have

/** The score of a confidence byte, in the precision of the maps. */
const scoreOf = (byte) => Math.fround((byte - 1) / STEPS);

/**
 * How a job's map is shown at this moment.
 * @typedef {{classes: object[], first: number, threshold: number, moved: boolean, colours: string[], hidden: Set<number>}} View
 * classes as the server gives them; the threshold that the map was made with; the one of now, which is of all classes
 * once it was moved; a colour of each, "#rrggbb"
 */

export const thresholdOf = (one, view) => (view.moved ? view.threshold : (one.threshold ?? view.threshold));

const backgroundOf = (view) => view.classes.findIndex((one) => one.background);

/** Whether pixels can be unclassified. */
export const hasUnclassified = (view) =>
  backgroundOf(view) < 0 && view.classes.some((one) => thresholdOf(one, view) > 0);

/**
 * Whether a pixel is its best class, as the files of the map have it: scores in files are rounded, and what the map was
 * made with stays where it is possible.
 */
function isCertain(byte, first, threshold) {
  const score = scoreOf(byte);
  return Math.fround(score >= first ? score + HALF_STEP : score - HALF_STEP) >= threshold;
}

/**
 * The class that each confidence of a class gives.
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

/** The colour of every pixel value as a canvas keeps it; what is hidden, unclassified or nodata is clear. */
export function colourTable(view) {
  const table = new Uint32Array(PIXELS);
  const colours = view.colours.map((colour, index) => (view.hidden.has(index) ? 0 : littleEndian(colour)));
  labelTable(view).forEach((labels, index) => {
    for (let byte = 1; byte < 256; byte++) table[index * 256 + byte] = colours[labels[byte]] ?? 0;
  });
  return table;
}

/** "#rrggbb" as one opaque pixel of ImageData, on the little-endian processors that browsers run on. */
function littleEndian(colour) {
  const rgb = Number.parseInt(colour.slice(1), 16);
  return ((255 << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

/**
 * How many pixels each class has.
 * @param {(index: number, byte: number) => number} counts of a class and confidence
 * @returns {number[]} of the classes, and last of unclassified
 */
export function pixelsOfClasses(view, counts) {
  const pixels = new Array(view.classes.length + 1).fill(0);
  labelTable(view).forEach((labels, index) => {
    for (let byte = 1; byte < 256; byte++) pixels[labels[byte]] += counts(index, byte);
  });
  return pixels;
}
