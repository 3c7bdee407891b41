// Gaussian smoothing of a slice, as SciPy's gaussian_filter computes it: axis by axis, in 64 bit, kept in 32 bit.
const TRUNCATE = 4, LEAST = 1e-15;

function kernel(sigma) {
  const radius = Math.floor(TRUNCATE * sigma + 0.5), weights = [];
  for (let x = -radius; x <= radius; x++) weights.push(Math.exp(-0.5 / (sigma * sigma) * x ** 2));
  const sum = weights.reduce((total, one) => total + one, 0);
  return {radius, weights: weights.map(one => one / sum)};
}
// Where a place beyond the ends of a line is taken from: "reflect" is d c b a | a b c d | d c b a.
function within(at, length, mode) {
  if (mode === "nearest") return Math.min(Math.max(at, 0), length - 1);
  const place = ((at % (2 * length)) + 2 * length) % (2 * length);
  return place < length ? place : 2 * length - 1 - place;
}
export function gaussian(image, [rows, columns], sigmas, mode) {
  let now = image;
  for (const [axis, sigma] of sigmas.entries()) {
    if (sigma <= LEAST) continue;
    const [length, lines, along, beside] = axis ? [columns, rows, 1, columns] : [rows, columns, columns, 1];
    const {radius, weights} = kernel(sigma), made = new Float32Array(rows * columns), line = new Float64Array(length + 2 * radius);
    for (let number = 0; number < lines; number++) {
      for (let at = 0; at < line.length; at++) line[at] = now[number * beside + within(at - radius, length, mode) * along];
      for (let at = 0; at < length; at++) {
        const middle = at + radius;
        let sum = line[middle] * weights[radius];
        for (let far = radius; far > 0; far--) sum += (line[middle - far] + line[middle + far]) * weights[radius - far];
        made[number * beside + at * along] = sum;
      }
    }
    now = made;
  }
  return now;
}
