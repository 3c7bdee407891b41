// What a network finds in a slice, with its mirror images and sizes: as musclesense.networks.onnx_predictor looks.
import {prepare, putSlice, requireOneSide, rint, slicesOf, takeSlice, toScanner, withoutNaN} from "./grid.js";
import {Refused} from "./nifti.js";

const STRIDE = 64;   // what frames of other sizes are made up to
const LEAST_WEIGHT = 0.01;   // of a slice beside another: what is less is none

// The last row and column are repeated until both numbers are multiples. A picture: channels x rows x columns.
function padded({data, shape: [count, rows, columns]}, multiple) {
  const tall = Math.ceil(rows / multiple) * multiple, wide = Math.ceil(columns / multiple) * multiple;
  return picture([count, tall, wide], (channel, r, c) => data[(channel * rows + Math.min(r, rows - 1)) * columns + Math.min(c, columns - 1)]);
}
const cropped = ({data, shape: [count, rows, columns]}, tall, wide) =>
  picture([count, tall, wide], (channel, r, c) => data[(channel * rows + r) * columns + c]);
const mirrored = ({data, shape: [count, rows, columns]}, order) =>
  picture([count, rows, columns], (channel, r, c) => data[((order ? order[channel] : channel) * rows + r) * columns + columns - 1 - c]);
function picture(shape, value) {
  const data = new Float32Array(shape[0] * shape[1] * shape[2]);
  for (let channel = 0, at = 0; channel < shape[0]; channel++) {
    for (let r = 0; r < shape[1]; r++) for (let c = 0; c < shape[2]; c++, at++) data[at] = value(channel, r, c);
  }
  return {data, shape};
}
// Weights of a bilinear resizing that takes the mean of what it brings together; of each new pixel, where they begin.
function weightsOf(now, then) {
  const step = now / then;
  return Array.from({length: then}, (_, at) => {
    const own = Array.from({length: now}, (_, from) => Math.max(0, 1 - Math.abs((at + 0.5) * step - from - 0.5) / Math.max(step, 1)));
    const sum = own.reduce((total, one) => total + one, 0), first = own.findIndex(Boolean);
    return {first, weights: own.filter(Boolean).map(one => Math.fround(one / sum))};
  });
}
export function resized(image, tall, wide) {
  const [count, rows, columns] = image.shape, down = weightsOf(rows, tall), across = weightsOf(columns, wide);
  const half = picture([count, tall, columns], (channel, r, c) =>
    down[r].weights.reduce((sum, weight, at) => sum + weight * image.data[(channel * rows + down[r].first + at) * columns + c], 0));
  return picture([count, tall, wide], (channel, r, c) =>
    across[c].weights.reduce((sum, weight, at) => sum + weight * half.data[(channel * tall + r) * columns + across[c].first + at], 0));
}

// Probabilities of the foreground classes: the mean over what each network finds in the image, at each size and in the
// mirror. `networks` are functions from a picture to probabilities of background and classes.
export async function find(image, spec, networks) {
  const [, rows, columns] = image.shape;
  let total = null, count = 0;
  const add = found => {
    count++;
    if (total) found.data.forEach((value, at) => { total.data[at] += value; });
    else total = found;
  };
  for (const network of networks) {
    const run = async given => {
      const [, tall, wide] = given.shape;
      return cropped(await network(padded(given, spec.multiple)), tall, wide);
    };
    const bothWays = async (given, use) => {
      add(use(foreground(await run(given))));
      if (spec.flip) add(use(foreground(mirrored(await run(mirrored(given)), spec.mirror))));
    };
    for (const scale of spec.scales) {
      if (scale === 1) { await bothWays(image, one => one); continue; }
      const [tall, wide] = [rint(scale * rows), rint(scale * columns)];
      await bothWays(padded(resized(image, tall, wide), STRIDE), one => resized(cropped(one, tall, wide), rows, columns));
    }
  }
  total.data.forEach((value, at) => { total.data[at] = value / count; });
  return total;
}
const foreground = ({data, shape: [count, rows, columns]}) => ({data: data.slice(rows * columns), shape: [count - 1, rows, columns]});

// The likeliest class where the foreground as a whole reaches the threshold, of probabilities class by class.
export function decide(classes, threshold) {
  const limit = Math.fround(threshold), decided = new Uint8Array(classes[0].length);
  for (let at = 0; at < decided.length; at++) {
    let sum = classes[0][at], best = 0;
    for (let number = 1; number < classes.length; number++) {
      sum = Math.fround(sum + classes[number][at]);
      if (classes[number][at] > classes[best][at]) best = number;
    }
    if (sum >= limit) decided[at] = best + 1;
  }
  return decided;
}

// The mean of a slice, which counts 1, and of those beside it, each of which counts `weight`; class by class.
export function weighed(own, beside, weight) {
  const whole = Math.fround(1 + weight * beside.length), part = Math.fround(weight);
  return own.map((values, number) => values.map((value, at) => {
    const sum = beside.reduce((total, one) => Math.fround(total + one[number][at]), 0);
    return Math.fround(value + Math.fround(part * sum)) / whole;
  }));
}
// How much a slice beside another counts for it, as NetworkSpec.weight_across.
export function weightAcross(spec, distance) {
  const weight = spec.across_mm ? Math.exp(-0.5 * (distance / spec.across_mm) ** 2) : 0;
  return weight >= LEAST_WEIGHT ? weight : 0;
}

// Segment every slice; gives class indices and bodies of all voxels. `said` is told how many slices are done.
export async function segment(image, spec, networks, said) {
  const slices = slicesOf(image), classes = new Uint8Array(image.data.length), bodies = new Uint8Array(image.data.length);
  requireOneSide(image);
  withoutNaN(image, slices);
  const weight = weightAcross(spec, image.zooms[slices.across]);
  let before = null, own = null;   // a slice is decided once the one behind it is known
  const decided = (number, after) => {
    const beside = [before, after].filter(Boolean);
    putSlice(classes, slices, number, decide(weight && beside.length ? weighed(own, beside, weight) : own, spec.threshold));
  };
  for (let number = 0; number < slices.count; number++) {
    said(number, slices.count);
    const {body, laid, pixels} = prepare(takeSlice(image.data, slices, number), image, slices, spec.grid);
    const found = await find({data: pixels, shape: [1, spec.grid.rows, spec.grid.columns]}, spec, networks);
    if (!found.data.every(Number.isFinite)) throw new Refused("makes the network give no finite numbers; give another image");
    const one = spec.grid.rows * spec.grid.columns, apart = Array.from({length: found.shape[0]}, (_, at) => found.data.subarray(at * one, (at + 1) * one));
    const native = apart.map(values => toScanner(values, laid));
    if (own) decided(number - 1, native);
    [before, own] = [own, native];
    putSlice(bodies, slices, number, body);
  }
  decided(slices.count - 1, null);
  return {classes, bodies};
}
