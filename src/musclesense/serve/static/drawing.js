// A mask that is painted on: slices of labels, what was done to them, and how it is undone.
"use strict";

class Drawing {
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.slices = new Map();   // number -> labels, as they are now
    this.whole = new Map();    // number -> labels, as they were loaded
    this.past = [];            // strokes: {number, places, before, after}
    this.future = [];
    this.stroke = null;
  }
  load(number, labels) {
    this.whole.set(number, labels);
    this.slices.set(number, labels.slice());
  }
  begin(number) {
    this.stroke = {number, before: new Map()};
  }
  // Paint a disc around a point, in pixels; `stretch` is how much higher a pixel is than wide.
  dab(row, column, radius, stretch, label, erase) {
    const labels = this.slices.get(this.stroke.number), tall = radius / stretch;
    for (let r = Math.max(0, Math.ceil(row - tall)); r <= Math.min(this.rows - 1, Math.floor(row + tall)); r++) {
      for (let c = Math.max(0, Math.ceil(column - radius)); c <= Math.min(this.columns - 1, Math.floor(column + radius)); c++) {
        const far = ((r - row) * stretch) ** 2 + (c - column) ** 2, at = r * this.columns + c;
        if (far > radius ** 2 || labels[at] === (erase ? 0 : label)) continue;
        if (!this.stroke.before.has(at)) this.stroke.before.set(at, labels[at]);
        labels[at] = erase ? 0 : label;
      }
    }
  }
  // Dabs so close that a fast hand leaves no gaps.
  line(from, to, radius, stretch, label, erase) {
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]), steps = Math.max(1, Math.ceil(far / Math.max(radius / 2, 0.5)));
    for (let step = 0; step <= steps; step++) {
      const part = step / steps;
      this.dab(from[0] + part * (to[0] - from[0]), from[1] + part * (to[1] - from[1]), radius, stretch, label, erase);
    }
  }
  end() {
    const {number, before} = this.stroke, labels = this.slices.get(number);
    this.stroke = null;
    if (!before.size) return false;
    const places = [...before.keys()];
    this.past.push({number, places, before: [...before.values()], after: places.map(at => labels[at])});
    this.future = [];
    return true;
  }
  undo() { return this.step(this.past, this.future, "before"); }
  redo() { return this.step(this.future, this.past, "after"); }
  step(from, to, kind) {
    const stroke = from.pop();
    if (!stroke) return null;
    const labels = this.slices.get(stroke.number);
    stroke.places.forEach((at, index) => { labels[at] = stroke[kind][index]; });
    to.push(stroke);
    return stroke.number;
  }
  changed() {
    return [...this.slices].filter(([number, labels]) => {
      const whole = this.whole.get(number);
      return labels.some((label, at) => label !== whole[at]);
    }).map(([number]) => number);
  }
  // Of each changed slice its number and its labels, as the server reads them.
  bytes() {
    const numbers = this.changed(), one = 4 + this.rows * this.columns, all = new Uint8Array(numbers.length * one);
    numbers.forEach((number, index) => {
      new DataView(all.buffer).setUint32(index * one, number, true);
      all.set(this.slices.get(number), index * one + 4);
    });
    return all;
  }
}
