// Areas and volumes of a mask by limb and label, as musclesense.segmentation.measuring counts them.
import {overUpright} from "./grid.js";

const MIDDLE = [0.3, 0.7];   // the limbs are parted in this part of the body's width
const COLUMNS = ["slice", "limb", "label", "voxels", "volume_ml", "area_cm2", "largest_area_cm2", "largest_area_slice"];

// The column, from the subject's right, at which a slice's limbs are parted: where the body is thinnest.
function cutOf(profile) {
  const inside = profile.flatMap((count, at) => count ? [at] : []);
  if (!inside.length) return profile.length >> 1;
  const [first, last] = [inside[0], inside.at(-1)], where = at => (at - first) / Math.max(1, last - first);
  const cost = at => profile[at] * (1 + ((where(at) - 0.5) / (MIDDLE[1] - 0.5)) ** 2);
  const middle = profile.map((_, at) => at).filter(at => where(at) >= MIDDLE[0] && where(at) <= MIDDLE[1]);
  const least = Math.min(...middle.map(cost)), thinnest = middle.length ? middle.filter(at => cost(at) === least) : inside;
  return thinnest[thinnest.length >> 1];
}
export function cutsOf(image, slices, bodies) {
  return Array.from({length: slices.count}, (_, number) => {
    const profile = new Array(image.shape[slices.columns.axis]).fill(0);
    overUpright(image, slices, number, (_, from, row, column) => { profile[column] += bodies[from]; });
    return cutOf(profile);
  });
}
// Rows of a table: each limb and label in each slice, then over all slices. `cuts` part the limbs; without them there is one.
export function measure(image, slices, classes, labels, cuts) {
  const limbs = cuts ? ["right", "left"] : ["one"], ml = image.zooms.reduce((product, one) => product * one, 1) / 1000;
  const cm2 = slices.plane.reduce((product, axis) => product * image.zooms[axis], 1) / 100;
  const counts = Array.from({length: slices.count}, (_, number) => {
    const own = limbs.map(() => new Array(labels.length).fill(0));
    overUpright(image, slices, number, (_, from, row, column) => {
      if (classes[from]) own[cuts && column >= cuts[number] ? 1 : 0][classes[from] - 1]++;
    });
    return own;
  });
  const pairs = limbs.flatMap((limb, side) => labels.map((label, at) => ({limb, label: label.name, side, at})));
  const rows = counts.flatMap((own, slice) => pairs.map(({limb, label, side, at}) =>
    ({slice, limb, label, voxels: own[side][at], volume_ml: own[side][at] * ml, area_cm2: own[side][at] * cm2})));
  return [...rows, ...pairs.map(({limb, label, side, at}) => {
    const all = counts.map(own => own[side][at]), voxels = all.reduce((sum, one) => sum + one, 0), most = Math.max(...all);
    const largest = most ? {largest_area_cm2: most * cm2, largest_area_slice: all.indexOf(most)} : {};
    return {slice: "all", limb, label, voxels, volume_ml: voxels * ml, ...largest};
  })];
}
export function asCsv(rows) {
  const text = (name, value) => value === undefined ? "" : name.endsWith("_ml") ? value.toFixed(3) : name.endsWith("_cm2") ? value.toFixed(2) : value;
  return [COLUMNS.join(","), ...rows.map(row => COLUMNS.map(name => text(name, row[name])).join(","))].join("\n") + "\n";
}
