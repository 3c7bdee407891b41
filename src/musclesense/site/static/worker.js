// Segments a scan beside the page, which answers meanwhile.
import * as ort from "./onnxruntime/ort.wasm.min.js";
import {segment} from "./network.js";
import {readNifti, Refused} from "./nifti.js";

const place = name => new URL(`onnxruntime/ort-wasm-simd-threaded.${name}`, import.meta.url).href;
ort.env.wasm.wasmPaths = {mjs: place("js"), wasm: place("wasm")};
// Several cores take headers that not every host sends.
ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;

async function network(file) {
  const answer = await fetch(new URL(file, import.meta.url));
  if (!answer.ok) throw new Error(`${file} is not there`);
  const session = await ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()));
  return async ({data, shape}) => {
    const {probabilities} = await session.run({images: new ort.Tensor("float32", data, [1, ...shape])});
    return {data: probabilities.data, shape: probabilities.dims.slice(1)};
  };
}
addEventListener("message", async ({data: {file, spec}}) => {
  try {
    postMessage({step: "reading the image"});
    const image = await readNifti(file);
    postMessage({step: "loading the network"});
    const networks = await Promise.all(spec.files.map(network));
    const found = await segment(image, spec, networks, (done, of) => postMessage({step: "segmenting", done, of}));
    postMessage({image: {...image, header: image.header.buffer}, ...found}, [image.data.buffer]);
  } catch (error) {
    const memory = error instanceof RangeError || /memory/i.test(error.message);
    postMessage({problem: error instanceof Refused ? error.message : memory ? "needs more memory than this browser has; crop it, or use the program" :
      `could not be segmented (${error.message})`});
  }
});
