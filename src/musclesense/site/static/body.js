// Where the body lies in a slice, and what air looks like around it: as musclesense.imaging.body finds it.
import {gaussian} from "./filters.js";

const SMOOTHING = 1.5, BINS = 256, SMALLEST_REGION = 0.1, SPUR = 0.1;
const f32 = Math.fround;

export function bodyMask(image, shape) {
  const smooth = gaussian(image, shape, [SMOOTHING, SMOOTHING], "reflect").map(value => Math.sqrt(Math.max(value, 0)));
  let low = Infinity, high = -Infinity;
  for (const value of smooth) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low === high) return new Uint8Array(image.length);
  const limit = otsu(smooth, low, high);
  const body = filled(Uint8Array.from(smooth, value => value > limit), shape);
  const {regions, sizes} = labelled(body, shape), largest = Math.max(...sizes);
  return Uint8Array.from(regions, region => region > 0 && sizes[region] >= SMALLEST_REGION * largest);
}
// The threshold that parts the histogram into the two classes that lie farthest apart (Otsu 1979), in 32 bit.
export function otsu(image, low, high) {
  const step = f32(f32(high - low) / BINS), edges = Array.from({length: BINS + 1}, (_, at) => f32(f32(at * step) + low));
  edges[BINS] = high;
  const counts = new Float32Array(BINS), centres = edges.slice(0, BINS).map((edge, at) => f32(f32(edge + edges[at + 1]) / 2));
  for (const value of image) {
    let bin = Math.min(Math.trunc(f32(f32(f32(value - low) / f32(high - low)) * BINS)), BINS - 1);
    if (value < edges[bin]) bin--;
    else if (value >= edges[bin + 1] && bin !== BINS - 1) bin++;
    counts[bin]++;
  }
  const weighed = counts.map((count, at) => count * centres[at]);
  const below = sums(counts), above = sums(counts.toReversed()).reverse();
  const belowMean = sums(weighed).map((sum, at) => sum / below[at]);
  const aboveMean = sums(weighed.toReversed()).map((sum, at) => sum / above[BINS - 1 - at]).reverse();
  let best = 0, most = -Infinity;
  for (let at = 0; at < BINS - 1; at++) {
    const apart = f32(belowMean[at] - aboveMean[at + 1]), between = f32(f32(below[at] * above[at + 1]) * f32(apart * apart));
    if (between > most) [best, most] = [at, between];
  }
  return centres[best];
}
function sums(values) {
  const made = new Float32Array(values.length);
  let sum = 0;
  values.forEach((value, at) => { made[at] = sum = f32(sum + value); });
  return made;
}
// Parts of a mask whose pixels share an edge: their numbers from 1, and how many pixels each has.
function labelled(mask, [rows, columns]) {
  const regions = new Int32Array(mask.length), sizes = [0], stack = [];
  for (let first = 0; first < mask.length; first++) {
    if (!mask[first] || regions[first]) continue;
    const number = sizes.length;
    let size = 0;
    const take = at => { if (mask[at] && !regions[at]) { regions[at] = number; stack.push(at); } };
    take(first);
    while (stack.length) {
      const at = stack.pop(), column = at % columns;
      size++;
      if (column) take(at - 1);
      if (column < columns - 1) take(at + 1);
      if (at >= columns) take(at - columns);
      if (at < (rows - 1) * columns) take(at + columns);
    }
    sizes.push(size);
  }
  return {regions, sizes};
}
// Fill what the border of the image cannot reach.
function filled(mask, shape) {
  const [rows, columns] = shape, {regions} = labelled(mask.map(value => !value), shape), reached = new Set();
  for (let c = 0; c < columns; c++) reached.add(regions[c]).add(regions[(rows - 1) * columns + c]);
  for (let r = 0; r < rows; r++) reached.add(regions[r * columns]).add(regions[(r + 1) * columns - 1]);
  reached.delete(0);
  return Uint8Array.from(regions, region => !reached.has(region));
}
// The median outside the body, or the least value where the body fills the slice.
export function backgroundLevel(image, body) {
  const outside = image.filter((_, at) => !body[at]).sort(), middle = outside.length >> 1;
  if (!outside.length) return image.reduce((least, value) => Math.min(least, value), Infinity);
  return outside.length % 2 ? outside[middle] : f32(f32(outside[middle - 1] + outside[middle]) / 2);
}
// The middle of a body along both axes, or that of the slice where there is none.
export function bodyCentre(body, [rows, columns]) {
  const down = new Array(rows).fill(0), across = new Array(columns).fill(0);
  body.forEach((inside, at) => { if (inside) { down[Math.floor(at / columns)]++; across[at % columns]++; } });
  return down.some(Boolean) ? [middle(down), middle(across)] : [(rows - 1) / 2, (columns - 1) / 2];
}
function middle(profile) {
  const least = SPUR * Math.max(...profile), wide = profile.flatMap((count, at) => count > least ? [at] : []);
  return (wide[0] + wide.at(-1)) / 2;
}
