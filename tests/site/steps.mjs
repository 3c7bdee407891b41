// Does steps of the page's scripts that a test asks for: `node steps.mjs SCRIPTS ASKED`, answers on the output.
import {openAsBlob, readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const [folder, asked] = process.argv.slice(2), load = name => import(pathToFileURL(`${folder}/${name}.js`));
const [body, filters, grid, measure, network, nifti] = await Promise.all(["body", "filters", "grid", "measure", "network", "nifti"].map(load));
const KINDS = {float32: Float32Array, float64: Float64Array, uint8: Uint8Array, uint16: Uint16Array};
const array = ({kind, bytes}) => new KINDS[kind](Uint8Array.from(Buffer.from(bytes, "base64")).buffer);
const told = (data, shape) => ({kind: data.constructor.name.replace("Array", "").toLowerCase(), shape: shape || [data.length],
  bytes: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64")});
// A network of no library: what it finds depends on the class and the place, so that a mirror is noticed.
const pretended = classes => async ({data, shape: [, rows, columns]}) => {
  const found = new Float32Array((classes + 1) * rows * columns);
  found.forEach((_, at) => {
    const number = Math.floor(at / (rows * columns)), place = at % (rows * columns);
    found[at] = data[place] * (number + 1) / 10 + (place % columns) / columns;
  });
  return {data: found, shape: [classes + 1, rows, columns]};
};
const STEPS = {
  gaussian: async ({image, sigmas, mode}) => told(filters.gaussian(array(image), image.shape, sigmas, mode)),
  body: async ({image}) => {
    const found = body.bodyMask(array(image), image.shape);
    return {body: told(found), level: body.backgroundLevel(array(image), found), centre: body.bodyCentre(found, image.shape)};
  },
  axes: async given => grid.anatomicalAxes(given),
  read: async ({file}) => {
    const image = await nifti.readNifti(await openAsBlob(file));
    return {shape: image.shape, affine: image.affine, data: told(image.data)};
  },
  frame: async ({file, grid: asked, number}) => {
    const image = await nifti.readNifti(await openAsBlob(file)), slices = grid.slicesOf(image);
    grid.withoutNaN(image, slices);
    const native = grid.takeSlice(image.data, slices, number), {laid, pixels} = grid.prepare(native, image, slices, asked);
    return {up: slices.step, native: told(native, slices.shape), ...laid, pixels: told(pixels), back: told(grid.toScanner(pixels, laid))};
  },
  upright: async ({file}) => {
    const image = await nifti.readNifti(await openAsBlob(file)), slices = grid.slicesOf(image);
    return Array.from({length: slices.count}, (_, number) => {
      const made = [];
      grid.overUpright(image, slices, number, (at, from) => { made[at] = image.data[from]; });
      return made;
    });
  },
  find: async ({image, spec}) => told((await network.find({data: array(image), shape: image.shape}, spec, [pretended(spec.mirror.length - 1)])).data),
  weighed: async ({slices, spec, distance}) => {
    const weight = network.weightAcross(spec, distance), all = slices.map(own => own.map(array));
    const mixed = all.map((own, n) => {
      const beside = [all[n - 1], all[n + 1]].filter(Boolean);
      return weight && beside.length ? network.weighed(own, beside, weight) : own;
    });
    return {weight, slices: mixed.map(own => own.map(one => told(one)))};
  },
  decide: async ({classes, threshold}) => told(network.decide(classes.map(array), threshold)),
  write: async ({file, mask, out}) => {
    const image = await nifti.readNifti(await openAsBlob(file));
    return told(new Uint8Array(await (await nifti.gzip(nifti.writeNifti(image, array(mask)))).arrayBuffer()));
  },
  measure: async ({file, classes, labels, bodies}) => {
    const image = await nifti.readNifti(await openAsBlob(file)), slices = grid.slicesOf(image);
    const rows = measure.measure(image, slices, array(classes), labels, bodies && measure.cutsOf(image, slices, array(bodies)));
    return {rows, csv: measure.asCsv(rows)};
  },
};
const answers = [];
for (const {step, ...given} of JSON.parse(readFileSync(asked, "utf8"))) {
  answers.push(await STEPS[step](given).catch(error => {
    if (error instanceof nifti.Refused) return {refused: error.message};
    throw error;
  }));
}
process.stdout.write(JSON.stringify(answers));
