// The grid: as musclesense.imaging.slicing, grid and frame lay slices before a network, number by number.
import {backgroundLevel, bodyCentre, bodyMask} from "./body.js";
import {gaussian} from "./filters.js";
import {Refused, zoomsOf} from "./nifti.js";

const THICK = 1.5, MOST_DEGREES = 60, EQUAL_SPACING = 1e-3;
const f32 = Math.fround;
// As NumPy and Python round: halves to the even number.
export const rint = value => { const whole = Math.round(value); return whole - value === 0.5 && whole % 2 ? whole - 1 : whole; };

const directionsOf = (affine, zooms) => [0, 1, 2].map(row => [0, 1, 2].map(axis => affine[row][axis] / zooms[axis]));
// For each axis of a volume the nearest of right, anterior, superior (0 to 2), and 1 or -1 for its direction.
export function anatomicalAxes({shape, affine, zooms}) {
  const directions = directionsOf(affine, zooms);
  const nearest = nearestAxes(rotationOf(directions));
  const chosen = nearest.findIndex(one => one[0] === 2), thick = thickAxis(shape, zooms);
  if (thick === null || thick === chosen) return nearest;
  const tilt = Math.acos(Math.min(Math.abs(directions[2][thick]), 1)) * 180 / Math.PI;
  return tilt <= MOST_DEGREES ? slicesAcross(thick, directions) : nearest;
}
// Of one space there can be one affine; two that differ in side would swap left and right by the reader's taste.
export function requireOneSide({forms, sameSpace}) {
  const [one, other] = forms.map(affine => String(nearestAxes(rotationOf(directionsOf(affine, zoomsOf(affine))))));
  if (sameSpace && other && one !== other) throw new Refused("has a sform and a qform of the same space that differ in side; remove the wrong one");
}
// The rotation that is nearest to a matrix (its polar factor), by Newton's iteration.
function rotationOf(matrix) {
  let now = matrix;
  for (let step = 0; step < 60; step++) {
    const [a, b, c] = now, cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    const cofactors = [cross(b, c), cross(c, a), cross(a, b)];
    const volume = a[0] * cofactors[0][0] + a[1] * cofactors[0][1] + a[2] * cofactors[0][2];
    const next = now.map((row, i) => row.map((value, j) => (value + cofactors[i][j] / volume) / 2));
    const moved = Math.max(...next.flatMap((row, i) => row.map((value, j) => Math.abs(value - now[i][j]))));
    now = next;
    if (moved < 1e-15) break;
  }
  return now;
}
function nearestAxes(rotation) {
  const left = rotation.map(row => row.slice()), nearest = [], column = axis => left.map(row => Math.abs(row[axis]));
  const order = [0, 1, 2].map(axis => Math.max(...column(axis)));
  for (const axis of [0, 1, 2].sort((one, other) => order[other] - order[one])) {
    const along = column(axis).indexOf(Math.max(...column(axis)));
    nearest[axis] = [along, left[along][axis] < 0 ? -1 : 1];
    left[along] = [0, 0, 0];
  }
  return nearest;
}
function thickAxis(shape, zooms) {
  const single = [0, 1, 2].filter(axis => shape[axis] === 1);
  if (single.length === 1) return single[0];
  const longest = zooms.indexOf(Math.max(...zooms));
  return zooms[longest] >= THICK * Math.max(...zooms.filter((_, axis) => axis !== longest)) ? longest : null;
}
function slicesAcross(axis, directions) {
  let [first, second] = [0, 1, 2].filter(other => other !== axis);
  const straight = Math.abs(directions[0][first]) + Math.abs(directions[1][second]);
  if (straight < Math.abs(directions[0][second]) + Math.abs(directions[1][first])) [first, second] = [second, first];
  const nearest = [];
  for (const [own, along] of [[first, 0], [second, 1], [axis, 2]]) nearest[own] = [along, Math.sign(directions[along][own]) || 1];
  return nearest;
}

// Where the slices of a volume are: `across` is their axis, `plane` the other two in storage order, `rows` and
// `columns` the axes from front to back and from the subject's right to left, each with 1 where its index grows so.
export function slicesOf(image) {
  const axes = anatomicalAxes(image), along = direction => axes.findIndex(one => one[0] === direction);
  const across = along(2), plane = [0, 1, 2].filter(axis => axis !== across);
  const strides = [1, image.shape[0], image.shape[0] * image.shape[1]];
  const [rows, columns] = [1, 0].map(direction => ({axis: along(direction), sign: -axes[along(direction)][1]}));
  const step = axes[across][1] * image.zooms[across];
  return {across, plane, step, strides, rows, columns, count: image.shape[across], shape: plane.map(axis => image.shape[axis])};
}
// Call with the place in the slice (storage order) and in the volume of each voxel of a slice.
function overSlice({across, plane, strides, shape}, number, visit) {
  const base = number * strides[across];
  for (let i = 0, at = 0; i < shape[0]; i++) {
    for (let j = 0; j < shape[1]; j++, at++) visit(at, base + i * strides[plane[0]] + j * strides[plane[1]]);
  }
}
export function takeSlice(data, slices, number) {
  const taken = new data.constructor(slices.shape[0] * slices.shape[1]);
  overSlice(slices, number, (at, from) => { taken[at] = data[from]; });
  return taken;
}
export function putSlice(data, slices, number, values) {
  overSlice(slices, number, (at, to) => { data[to] = values[at]; });
}
// Call with the place of each voxel as it is shown: rows from front to back, columns from the subject's right to left.
export function overUpright(image, slices, number, visit) {
  const {rows, columns, strides, across} = slices, height = image.shape[rows.axis], width = image.shape[columns.axis];
  for (let r = 0, at = 0; r < height; r++) {
    for (let c = 0; c < width; c++, at++) {
      const row = rows.sign > 0 ? r : height - 1 - r, column = columns.sign > 0 ? c : width - 1 - c;
      visit(at, number * strides[across] + row * strides[rows.axis] + column * strides[columns.axis], r, c);
    }
  }
}

// Lay the grid over a slice: where its first pixel lies, and the voxels from one to the next.
export function place(image, slices, grid, body) {
  const {rows, columns} = slices, transposed = rows.axis > columns.axis, sizes = [grid.rows, grid.columns];
  const lengths = [rows, columns].map(one => image.shape[one.axis]), zooms = [rows, columns].map(one => image.zooms[one.axis]);
  let steps = lengths.map((length, at) => length / sizes[at]), centres = lengths.map(length => (length - 1) / 2);
  if (grid.fit !== "stretch") {
    centres = bodyCentre(body, slices.shape);
    if (transposed) centres.reverse();
    steps = zooms.map(zoom => grid.spacing_mm / zoom);
  }
  const signs = [rows.sign, columns.sign], equal = steps.map(step => Math.abs(step - 1) < EQUAL_SPACING);
  const starts = centres.map((centre, at) => centre - signs[at] * steps[at] * (sizes[at] - 1) / 2);
  return {
    transposed, gridShape: sizes, nativeShape: slices.shape,
    start: starts.map((start, at) => equal[at] ? rint(start) : start),
    step: steps.map((step, at) => signs[at] * (equal[at] ? 1 : step)),
  };
}
function transpose(data, [rows, columns]) {
  const turned = new data.constructor(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) turned[c * rows + r] = data[r * columns + c];
  return turned;
}
export function toGrid(native, laid, background) {
  const {transposed, nativeShape, start, step, gridShape} = laid;
  return resample(transposed ? transpose(native, nativeShape) : native, transposed ? nativeShape.slice().reverse() : nativeShape, start, step, gridShape, background);
}
export function toScanner(values, laid) {
  const {transposed, nativeShape, gridShape} = laid, shape = transposed ? nativeShape.slice().reverse() : nativeShape;
  const step = laid.step.map(one => 1 / one), start = laid.start.map((one, axis) => -one / laid.step[axis]);
  const native = resample(values, gridShape, start, step, shape, 0);
  return transposed ? transpose(native, shape) : native;
}
// Sample linearly at `start + step * index`, smoothed first where the samples are coarser (SciPy's affine_transform).
function resample(image, from, start, step, shape, background) {
  const source = gaussian(image, from, step.map(one => Math.max(0, (Math.abs(one) - 1) / 2)), "nearest");
  const axes = [0, 1].map(axis => samples(from[axis], start[axis], step[axis], shape[axis])), output = new Float32Array(shape[0] * shape[1]);
  for (let r = 0, to = 0; r < shape[0]; r++) {
    const {low: top, high: bottom, part: down, beyond} = axes[0][r];
    for (let c = 0; c < shape[1]; c++, to++) {
      const {low: left, high: right, part: across, beyond: out} = axes[1][c];
      output[to] = beyond || out ? background :
        source[top * from[1] + left] * (1 - down) * (1 - across) + source[top * from[1] + right] * (1 - down) * across +
        source[bottom * from[1] + left] * down * (1 - across) + source[bottom * from[1] + right] * down * across;
    }
  }
  return output;
}
function samples(length, start, step, count) {
  return Array.from({length: count}, (_, index) => {
    const at = start + step * index, inside = Math.min(Math.max((index + start / step) * step, 0), length - 1), low = Math.floor(inside);
    // A voxel reaches half its size beyond its centre; further out there is nothing.
    return {low, high: Math.min(low + 1, length - 1), part: inside - low, beyond: at < -0.5 - 1e-9 || at > length - 0.5 + 1e-9};
  });
}

// Bring a slice to the grid with zero mean and unit standard deviation.
export function prepare(native, image, slices, grid) {
  const body = bodyMask(native, slices.shape), laid = place(image, slices, grid, body);
  const onGrid = toGrid(native, laid, backgroundLevel(native, body));
  let sum = 0, squares = 0, same = true;
  for (const value of onGrid) { sum += value; same &&= value === onGrid[0]; }
  const mean = sum / onGrid.length;
  for (const value of onGrid) squares += (value - mean) ** 2;
  const shift = f32(mean), deviation = f32(Math.sqrt(squares / onGrid.length));
  return {body, laid, pixels: same ? onGrid.fill(0) : onGrid.map(value => f32(value - shift) / deviation)};
}

// Put 0 in place of NaN around the body, as masking leaves it; refuse an image that has it inside.
const SKIN_VOXELS = 3;
export function withoutNaN(image, slices) {
  const {data} = image, [rows, columns] = slices.shape;
  if (!data.some(Number.isNaN)) return;
  for (let number = 0; number < slices.count; number++) {
    const own = takeSlice(data, slices, number), shown = own.map(value => value || 0), body = bodyMask(shown, slices.shape);
    const isAir = (r, c) => r < 0 || c < 0 || r >= rows || c >= columns ? false : !body[r * columns + c];
    own.forEach((value, at) => {
      if (!Number.isNaN(value) || !body[at]) return;
      for (let r = -SKIN_VOXELS; r <= SKIN_VOXELS; r++) {
        for (let c = -SKIN_VOXELS; c <= SKIN_VOXELS; c++) {
          if (r * r + c * c <= SKIN_VOXELS ** 2 && isAir(Math.floor(at / columns) + r, at % columns + c)) return;
        }
      }
      throw new Refused("has voxels of the body that are NaN; export the image again");
    });
    putSlice(data, slices, number, shown);
  }
}
