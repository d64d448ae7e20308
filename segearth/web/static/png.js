// Decodes the tiles of a map: PNGs with the class in red and its confidence in green. A canvas is not used, as browsers
// with protection against fingerprinting change the pixels that are read from it.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10];

/**
 * Decodes an RGB or RGBA PNG of 8 bits.
 * @param {ArrayBuffer} buffer the file
 * @returns {Promise<Uint16Array>} for each pixel, row by row, red · 256 + green
 */
export async function decode(buffer) {
  const data = new DataView(buffer);
  if (SIGNATURE.some((byte, i) => data.getUint8(i) !== byte)) throw new Error("no PNG");
  const packed = [];
  let width = 0;
  let height = 0;
  let size = 0; // bytes per pixel
  for (let at = 8; at < buffer.byteLength; ) {
    const length = data.getUint32(at);
    const type = String.fromCharCode(...new Uint8Array(buffer, at + 4, 4));
    if (type === "IHDR") {
      width = data.getUint32(at + 8);
      height = data.getUint32(at + 12);
      size = { 2: 3, 6: 4 }[data.getUint8(at + 17)];
      if (data.getUint8(at + 16) !== 8 || !size || data.getUint8(at + 20)) throw new Error("not this kind of PNG");
    } else if (type === "IDAT") packed.push(new Uint8Array(buffer, at + 8, length));
    at += length + 12;
  }
  const stream = new Blob(packed).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  const stride = width * size;
  const pixels = new Uint16Array(width * height);
  let above = new Uint8Array(stride);
  for (let row = 0; row < height; row++) {
    const start = row * (stride + 1);
    const line = rows.subarray(start + 1, start + 1 + stride);
    unfilter(rows[start], line, above, size);
    for (let i = 0, at = row * width; i < stride; i += size) pixels[at++] = (line[i] << 8) | line[i + 1];
    above = line;
  }
  return pixels;
}

/** Undoes the filter of one row in place (PNG specification, section 9.2). */
function unfilter(filter, line, above, size) {
  if (filter === 1) for (let i = size; i < line.length; i++) line[i] += line[i - size];
  else if (filter === 2) for (let i = 0; i < line.length; i++) line[i] += above[i];
  else if (filter === 3) for (let i = 0; i < line.length; i++) line[i] += ((line[i - size] ?? 0) + above[i]) >> 1;
  else if (filter === 4) for (let i = 0; i < line.length; i++) line[i] += paeth(line[i - size] ?? 0, above[i], above[i - size] ?? 0);
}

/** The Paeth predictor: left, above or corner, the one nearest to left + above - corner. */
function paeth(left, up, corner) {
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
