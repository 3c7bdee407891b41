// NIfTI-1 in and out: as musclesense.imaging.nifti reads it, which says why each file is refused.
export const MOST_VOXELS = 128 * 1024 ** 2, LONGEST_AXIS = 4096;
const [SMALLEST_MM, LARGEST_MM, FARTHEST_MM, LEAST_VOLUME, LARGEST_VALUE] = [0.01, 500, 1e5, 0.5, 1e12];
const HEADER = 348, LARGEST_OFFSET = 64 * 1024 ** 2, AGAIN = "export the file again";
// By the codes of the standard: bytes of a voxel, and how DataView reads one.
const KINDS = {
  2: [1, "getUint8"], 4: [2, "getInt16"], 8: [4, "getInt32"], 16: [4, "getFloat32"], 64: [8, "getFloat64"],
  256: [1, "getInt8"], 512: [2, "getUint16"], 768: [4, "getUint32"], 1024: [8, "getBigInt64"], 1280: [8, "getBigUint64"],
};
// What says where voxels lie: places in the header and the bytes of each number there.
const GEOMETRY = [[76, 8, 4], [252, 2, 2], [256, 18, 4]];

export class Refused extends Error {}

// The bytes of a file, unpacked, so many at a time.
class Bytes {
  constructor(stream) {
    this.reader = stream.getReader();
    this.left = new Uint8Array(0);
  }
  // Fill an array as far as the file goes; gives how many bytes that were.
  async fill(array) {
    let filled = 0;
    while (filled < array.length) {
      if (!this.left.length) {
        const {value, done} = await this.reader.read().catch(() => { throw new Refused(`cannot be unpacked; ${AGAIN}`); });
        if (done) break;
        this.left = value;
      }
      const some = this.left.subarray(0, array.length - filled);
      array.set(some, filled);
      filled += some.length;
      this.left = this.left.subarray(some.length);
    }
    return filled;
  }
}

// Read an image: its shape, affine (4 rows), header, and voxels as 32-bit numbers, the first axis the fastest.
export async function readNifti(blob) {
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const packed = start[0] === 0x1f && start[1] === 0x8b;
  const bytes = new Bytes(packed ? blob.stream().pipeThrough(new DecompressionStream("gzip")) : blob.stream());
  const header = new Uint8Array(HEADER);
  const found = await bytes.fill(header), told = new DataView(header.buffer);
  const little = told.getInt32(0, true) === HEADER;
  if ([told.getInt32(0, true), told.getInt32(0, false)].includes(540)) throw new Refused("is NIfTI-2; convert it to NIfTI-1");
  if (found < HEADER || !little && told.getInt32(0, false) !== HEADER) {
    throw new Refused("is no NIfTI image; give .nii or .nii.gz, or convert it");
  }
  const image = {...geometryOf(told, little), header: told, little};
  const [size, reader] = KINDS[told.getInt16(70, little)] || [];
  if (!size) throw new Refused(`has voxels of type code ${told.getInt16(70, little)}; store real numbers`);
  const offset = told.getFloat32(108, little), wanted = image.shape[0] * image.shape[1] * image.shape[2] * size;
  if (!(offset >= HEADER + 4 && offset <= LARGEST_OFFSET) || offset % 1) throw new Refused(`has voxels at byte ${offset}; ${AGAIN}`);
  await bytes.fill(new Uint8Array(offset - HEADER));
  const voxels = new Uint8Array(wanted), there = await bytes.fill(voxels);
  if (there < wanted) throw new Refused(`is cut off (${there} of ${wanted} bytes are there); ${AGAIN}`);
  if (await bytes.fill(new Uint8Array(1))) throw new Refused(`holds more than the voxels of its header; ${AGAIN}`);
  return {...image, data: scaled(voxels, size, reader, told, little)};
}

function scaled(voxels, size, reader, told, little) {
  let slope = told.getFloat32(112, little), inter = told.getFloat32(116, little);
  if (Number.isNaN(slope) || slope === 0) [slope, inter] = [1, 0];
  if (!Number.isFinite(slope) || !Number.isFinite(inter)) throw new Refused(`has a scale factor that is no number; ${AGAIN}`);
  const stored = new DataView(voxels.buffer), data = new Float32Array(voxels.length / size);
  let low = Infinity, high = -Infinity;
  for (let at = 0; at < data.length; at++) {
    data[at] = Number(stored[reader](at * size, little)) * slope + inter;
    if (data[at] < low) low = data[at];
    if (data[at] > high) high = data[at];
  }
  if (!(high > low)) throw new Refused(`is ${Number.isFinite(low) ? low : "NaN"} everywhere; give the image`);
  if (Math.max(high, -low) > LARGEST_VALUE) throw new Refused(`has values that are too large for an image; ${AGAIN}`);
  return data;
}

function geometryOf(told, little) {
  const number = at => told.getFloat32(at, little), code = at => told.getInt16(at, little);
  const count = code(40), dim = Array.from({length: count >= 1 && count <= 7 ? count : 0}, (_, axis) => code(42 + 2 * axis));
  while (dim.length > 3 && dim.at(-1) === 1) dim.pop();
  if (String.fromCharCode(told.getUint8(344), told.getUint8(345), told.getUint8(346)) !== "n+1") {
    throw new Refused("has header and voxels in two files; convert it to .nii.gz");
  }
  if (dim.length !== 3 || Math.min(...dim) < 1) throw new Refused(`has shape ${dim.join("x")}, not three axes; give one 3-D image`);
  if (dim[0] * dim[1] * dim[2] > MOST_VOXELS || Math.max(...dim) > LONGEST_AXIS) {
    throw new Refused(`has ${dim.join("x")} voxels; a browser holds up to ${MOST_VOXELS / 1024 ** 2} million: crop it, or use the program`);
  }
  if (![0, 2].includes(told.getUint8(123) & 7)) throw new Refused("has lengths in another unit; store millimetres");
  const sizes = [80, 84, 88].map(number);
  requireSizes(sizes);
  const [qform, sform] = [code(252), code(254)];
  const affines = [];
  if (sform > 0) affines.push([0, 1, 2].map(row => [0, 1, 2, 3].map(column => number(280 + 16 * row + 4 * column))));
  if (qform > 0) affines.push(ofQuaternion(number, sizes));
  if (!affines.length) {
    const signed = [-sizes[0], sizes[1], sizes[2]];
    affines.push(signed.map((one, row) => [0, 1, 2, 3].map(column => column === 3 ? -one * (dim[row] - 1) / 2 : column === row ? one : 0)));
  }
  for (const affine of affines) requireAffine(affine);
  return {shape: dim, affine: [...affines[0], [0, 0, 0, 1]], zooms: zoomsOf(affines[0]), forms: affines, sameSpace: qform === sform};
}

function ofQuaternion(number, sizes) {
  const [b, c, d] = [256, 260, 264].map(number), square = 1 - (b * b + c * c + d * d);
  if (square < -3.6e-7) throw new Refused(`has a qform that cannot be read; ${AGAIN}`);
  const a = Math.sqrt(Math.max(square, 0)), s = 2 / (a * a + b * b + c * c + d * d), third = number(76) < 0 ? -1 : 1;
  const turn = [
    [1 - s * (c * c + d * d), s * (b * c - a * d), s * (b * d + a * c)],
    [s * (b * c + a * d), 1 - s * (b * b + d * d), s * (c * d - a * b)],
    [s * (b * d - a * c), s * (c * d + a * b), 1 - s * (b * b + c * c)],
  ];
  return turn.map((row, at) => [row[0] * sizes[0], row[1] * sizes[1], row[2] * sizes[2] * third, number(268 + 4 * at)]);
}

export const zoomsOf = affine => [0, 1, 2].map(axis => Math.sqrt(affine[0][axis] ** 2 + affine[1][axis] ** 2 + affine[2][axis] ** 2));

function requireSizes(sizes) {
  if (!sizes.every(one => one >= SMALLEST_MM && one <= LARGEST_MM)) throw new Refused(`has voxels of ${sizes.join("x")} mm; ${AGAIN}`);
}
function requireAffine(affine) {
  const zooms = zoomsOf(affine), [a, b, c] = affine.map(row => [0, 1, 2].map(axis => row[axis] / zooms[axis]));
  const volume = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
  requireSizes(zooms);
  if (!(Math.abs(volume) >= LEAST_VOLUME)) throw new Refused(`has an affine that is singular or sheared; ${AGAIN} with its orientation`);
  if (!affine.every(row => Math.abs(row[3]) <= FARTHEST_MM)) throw new Refused(`has a first voxel that lies far away; ${AGAIN}`);
}

// A mask in the voxels of an image, as the bytes of a file: whole numbers of 16 bits, and of the header no more than
// where the voxels lie.
export function writeNifti(image, mask) {
  const file = new Uint8Array(HEADER + 4 + 2 * mask.length), told = new DataView(file.buffer);
  told.setInt32(0, HEADER, true);
  [3, ...image.shape, 1, 1, 1, 1].forEach((length, at) => told.setInt16(40 + 2 * at, length, true));
  for (const [first, count, size] of GEOMETRY) {
    for (let at = first; at < first + count * size; at += size) {
      if (size === 4) told.setFloat32(at, image.header.getFloat32(at, image.little), true);
      else told.setInt16(at, image.header.getInt16(at, image.little), true);
    }
  }
  told.setInt16(70, 512, true);
  told.setInt16(72, 16, true);
  told.setFloat32(108, HEADER + 4, true);
  told.setFloat32(112, 1, true);
  told.setUint8(123, image.header.getUint8(123));
  file.set([0x6e, 0x2b, 0x31], 344);
  mask.forEach((value, at) => told.setUint16(HEADER + 4 + 2 * at, value, true));
  return file;
}

export async function gzip(bytes) {
  return new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).blob();
}
