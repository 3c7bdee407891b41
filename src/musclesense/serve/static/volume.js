// The scan as a volume: three planes and a rendering, with the mask over them, by NiiVue, which is read when it is asked for.
"use strict";
{
  const place = new URL("niivue/niivue.umd.js", document.currentScript.src), press = at("as-volume"), said = at("volume-said");
  const own = at("volume-canvas"), TURN = {ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10]};
  const HEADER = 352, KINDS = new Map([[Uint8Array, 2], [Uint16Array, 512]]);
  let viewer, loaded = null, turn = Promise.resolve();

  const read = () => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = place;
    script.onload = done;
    script.onerror = () => failed(new Error("NiiVue is not there."));
    document.head.append(script);
  });
  async function opened() {
    if (!globalThis.niivue) await read();
    const made = new niivue.Niivue({
      isRadiologicalConvention: true, multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
      multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID, dragMode: niivue.DRAG_MODE.none,
      crosshairColor: [0.36, 0.77, 0.81, 1], dragAndDropEnabled: false, loadingText: "", logLevel: "error",
    });
    // Keys and window are the page's own.
    for (const name of ["keyDownListener", "keyUpListener", "resetBriCon"]) made[name] = () => {};
    await made.attachToCanvas(own);
    made.setRenderAzimuthElevation(160, 10);
    made.setScale(0.8);
    made.onLocationChange = () => { number = sliceAt(made.scene.crosshairPos[2]); at("slice").value = number; };
    return made;
  }
  // The part that is shown of all slices as NIfTI: to the left, to the back, and up or down.
  function nifti(slices, Kind) {
    const [[top, bottom], [left, right]] = box, wide = right - left, tall = bottom - top;
    const file = new ArrayBuffer(HEADER + slices.length * tall * wide * Kind.BYTES_PER_ELEMENT);
    const told = new DataView(file), voxels = new Kind(file, HEADER), [down, across] = view.zooms;
    told.setInt32(0, 348, true);
    [3, wide, tall, slices.length, 1, 1, 1, 1].forEach((length, axis) => told.setInt16(40 + 2 * axis, length, true));
    told.setInt16(70, KINDS.get(Kind), true);
    told.setInt16(72, 8 * Kind.BYTES_PER_ELEMENT, true);
    [1, across, down, Math.abs(view.step)].forEach((size, axis) => told.setFloat32(76 + 4 * axis, size, true));
    told.setFloat32(108, HEADER, true);
    told.setFloat32(112, 1, true);
    told.setUint8(123, 2);
    told.setInt16(254, 1, true);
    [-across, -down, view.step].forEach((step, axis) => told.setFloat32(280 + 20 * axis, step, true));
    [0x6e, 0x2b, 0x31].forEach((letter, index) => told.setUint8(344 + index, letter));
    slices.forEach((slice, index) => {
      for (let row = 0; row < tall; row++) {
        const from = (row + top) * view.columns + left;
        voxels.set(slice.subarray(from, from + wide), (index * tall + row) * wide);
      }
    });
    return file;
  }
  // Where the cross is at first: in the middle of the mask of the slice.
  async function middle() {
    const labels = await loadMask(number), [[top, bottom], [left, right]] = box;
    const inside = [...labels.keys()].filter(one => labels[one]), one = inside[inside.length >> 1];
    const part = (place, first, last) => one === undefined ? 0.5 : (last - place - 0.5) / (last - first);
    return [part(one % view.columns, left, right), part(Math.floor(one / view.columns), top, bottom), 0.5];
  }
  const all = one => Promise.all(Array.from({length: view.slices}, (_, index) => one(index)));
  async function fill(nv, name) {
    const most = nv.uiData.max3D;
    if (Math.max(view.slices, view.rows, view.columns) > most) throw new Error(`This browser takes ${most} voxels along each axis.`);
    const image = nifti(await all(index => load(name, index)), Uint16Array), mask = nifti(await all(loadMask), Uint8Array);
    const volumes = [await niivue.NVImage.new(image, "image.nii", "gray", 1, null, ...window_of()), await niivue.NVImage.new(mask, "mask.nii")];
    const colours = [[0, 0, 0], ...view.labels.map(one => one.colour)], part = index => colours.map(one => one[index]);
    volumes[1].setColormapLabel({R: part(0), G: part(1), B: part(2), A: colours.map((_, label) => label ? 255 : 0), I: colours.map((_, label) => label)});
    const cross = nv.volumes.length ? nv.scene.crosshairPos : await middle();
    while (nv.volumes.length) nv.removeVolumeByIndex(0);
    volumes.forEach(one => nv.addVolume(one));
    nv.scene.crosshairPos = cross;
  }
  const window_of = () => ["black", "white"].map(id => 65535 * Number(at(id).value));
  const sliceAt = part => Math.min(view.slices - 1, Math.floor(view.slices * (view.step > 0 ? part : 1 - part)));
  async function follow() {
    const name = at("image").value, wanted = `${name} ${drawing.past.length}`;
    try {
      if (wanted !== loaded) said.textContent = "loading the volume";
      const nv = await (viewer ??= opened());
      if (wanted !== loaded) await fill(nv, name);
      loaded = wanted;
      [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = window_of();
      nv.volumes[1].opacity = Number(at("opacity").value);
      if (sliceAt(nv.scene.crosshairPos[2]) !== number) {
        const part = (number + 0.5) / view.slices;
        nv.scene.crosshairPos[2] = view.step > 0 ? part : 1 - part;
      }
      nv.updateGLVolume();
      said.textContent = "";
    } catch (error) {
      said.textContent = `The volume cannot be shown. ${error.message ?? ""}`;
    }
  }
  const isOn = () => press.getAttribute("aria-pressed") === "true";
  function toggle() {
    const on = !isOn();
    press.setAttribute("aria-pressed", String(on));
    own.parentElement.hidden = !on;
    canvas.parentElement.hidden = on;
    if (on && tool) take(tool);
    loaded = on ? null : loaded;  // it may have been painted on
    show();
  }
  shown = () => {
    press.hidden = !view.step;
    if (isOn() && tool) toggle();  // painted are slices
    else if (isOn()) turn = turn.then(follow);
  };
  if (view) shown();  // slices were faster
  press.addEventListener("click", toggle);
  keys.v = () => { if (!press.hidden) toggle(); };
  own.addEventListener("keydown", async event => {
    const by = TURN[event.key];
    if (!by || !loaded || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const nv = await viewer, {renderAzimuth, renderElevation} = nv.scene;
    if (event.shiftKey) nv.moveCrosshairInVox(Math.sign(by[0]), Math.sign(by[1]), 0);
    else nv.setRenderAzimuthElevation(renderAzimuth + by[0], renderElevation + by[1]);
  });
}
