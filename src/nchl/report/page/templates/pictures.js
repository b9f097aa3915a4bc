// Drawing: heat maps by putImageData with a symmetric diverging colour map, curves once on a canvas with a cursor above them.

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const number = (x) => (Number.isFinite(x) ? (x !== 0 && (Math.abs(x) < 0.001 || Math.abs(x) >= 1e5) ? x.toExponential(2) : String(+x.toPrecision(3))) : "not finite").replace("-", "\u2212");
const share = (x) => (Number.isFinite(x) ? `${x > 0 && x < 0.095 ? +(100 * x).toPrecision(2) : Math.round(100 * x)} %` : "\u2013");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const dark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;
const isDark = () => dark.matches && !printing;

// Blue for negative, orange for positive; the middle is the background of the page, so that zeros are invisible.
const STOPS = {
  light: [[0, 38, 66], [0, 114, 178], [120, 190, 232], [250, 250, 248], [240, 176, 70], [213, 94, 0], [92, 32, 0]],
  dark: [[214, 239, 255], [86, 180, 233], [0, 84, 134], [22, 25, 31], [140, 66, 0], [230, 159, 0], [255, 236, 190]],
};
const pack32 = (r, g, b, a = 255) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;

function colourMap() {
  const stops = isDark() ? STOPS.dark : STOPS.light;
  const table = new Uint32Array(255);
  for (let i = 0; i < 255; i++) {
    const at = (i / 254) * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2);
    table[i] = pack32(...stops[k].map((low, c) => Math.round(low + (at - k) * (stops[k + 1][c] - low))));
  }
  return table;
}
const gradient = () => `linear-gradient(to right, ${(isDark() ? STOPS.dark : STOPS.light).map((stop) => `rgb(${stop.join(" ")})`).join(", ")})`;
let palette = colourMap();
const NOT_FINITE = pack32(204, 121, 167);
const repaint = () => (palette = colourMap());

// Codes -128..127 -> colours, with each code multiplied by `factor` (1 for the scale of the step).
function shades(factor) {
  const table = new Uint32Array(256);
  table[0] = NOT_FINITE;
  for (let code = -127; code <= 127; code++) table[code + 128] = palette[Math.round(Math.max(-127, Math.min(127, code * factor))) + 127];
  return table;
}

// A heat map of codes: `places[k]` is the pixel of value k; pixels without a value stay transparent.
class HeatMap {
  constructor(width, height, places, label) {
    this.canvas = make("canvas", { width, height, className: "heat" });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", label);
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.places = places;
    this.numbers = new Int32Array(width * height).fill(-1);
    places.forEach((pixel, k) => (this.numbers[pixel] = k));
  }

  draw(codes, start, factor = 1) {
    const table = shades(factor), { pixels, places } = this;
    for (let k = 0; k < places.length; k++) pixels[places[k]] = table[codes[start + k] + 128];
    this.context.putImageData(this.image, 0, 0);
  }

  // Index of the value at a point of the page, or -1.
  at(x, y) {
    const box = this.canvas.getBoundingClientRect(), { width, height } = this.canvas;
    const column = Math.floor(((x - box.left) / box.width) * width), row = Math.floor(((y - box.top) / box.height) * height);
    return column < 0 || row < 0 || column >= width || row >= height ? -1 : this.numbers[row * width + column];
  }
}

const range = (n) => Array.from({ length: n }, (_, i) => i);

// Pixels of the weights of a layer: the larger side across; kernels as tiles, outputs down, inputs across.
function placement(shape) {
  const [outs, ins, rows = 1, columns = 1] = shape;
  if (shape.length > 2) {
    const width = ins * (columns + 1) - 1, height = outs * (rows + 1) - 1;
    const places = [];
    for (let o = 0; o < outs; o++) for (let i = 0; i < ins; i++) for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++)
      places.push((o * (rows + 1) + y) * width + i * (columns + 1) + x);
    return { width, height, places, postAcross: false, kernels: true };
  }
  const postAcross = outs > ins;
  const [width, height] = postAcross ? [outs, ins] : [ins, outs];
  const places = range(outs * ins).map((k) => {
    const o = Math.floor(k / ins), i = k % ins;
    return postAcross ? i * width + o : o * width + i;
  });
  return { width, height, places, postAcross, kernels: false };
}

// Feature maps side by side.
function tiles([channels, rows, columns]) {
  const across = Math.min(channels, 8), down = Math.ceil(channels / across);
  const width = across * (columns + 1) - 1, height = down * (rows + 1) - 1;
  const places = [];
  for (let c = 0; c < channels; c++) for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++)
    places.push((Math.floor(c / across) * (rows + 1) + y) * width + (c % across) * (columns + 1) + x);
  return { width, height, places };
}

// A chart of curves over the steps of the episode, with a legend that shows the current values, and a cursor.
class Chart {
  constructor({ title, points, steps, series, stacked = false, percent = false, perturbed = null, onSeek }) {
    Object.assign(this, { title, points, steps, series, stacked, percent });
    const values = series.flatMap((s) => Array.from(s.values).filter(Number.isFinite));
    this.low = stacked ? 0 : Math.min(0, ...[values.reduce((a, b) => Math.min(a, b), Infinity)].filter(Number.isFinite));
    this.high = stacked ? 1 : Math.max(values.reduce((a, b) => Math.max(a, b), -Infinity), this.low);
    const positive = values.filter((v) => v > 0).reduce((a, b) => Math.min(a, b), Infinity);
    this.logarithmic = !stacked && !percent && this.low >= 0 && this.high / positive > 1000;
    if (this.logarithmic) [this.low, this.high] = [Math.log10(positive), Math.log10(this.high)];
    if (!(this.high > this.low)) this.high = this.low + 1;
    this.canvas = make("canvas", { className: "curves" });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${title}, over the steps of the episode`);
    this.canvas.vector = (width, height) => this.paths(width, height, 1).map(({ d, tone, filled }) => `<path d="${d}" ${filled ? "fill" : 'fill="none" stroke-width="1.6" stroke'}="${colour(tone)}"/>`).join("");
    this.cursor = make("div", { className: "cursor" });
    this.moment = make("div", { className: "moment", hidden: !perturbed }); // a perturbation from the start needs no line
    if (perturbed) this.moment.style.left = this.at(perturbed + 1);
    this.top = make("span", { className: "bound top" });
    this.bottom = make("span", { className: "bound bottom" });
    const shown = (v) => (percent || stacked ? share(v) : number(this.logarithmic ? 10 ** v : v));
    this.top.textContent = shown(this.high) + (this.logarithmic ? " (log)" : "");
    this.bottom.textContent = shown(this.low);
    this.readings = series.map(() => make("b"));
    const legend = make("ul", { className: "legend" }, ...series.map((s, k) => {
      const swatch = make("i");
      swatch.style.background = `var(${s.colour})`;
      return make("li", {}, swatch, `${s.name} `, this.readings[k]);
    }));
    this.area = make("div", { className: "plot" }, this.canvas, this.moment, this.cursor, this.top, this.bottom);
    this.figure = make("figure", { className: "chart" }, make("figcaption", { textContent: title }), this.area, legend);
    this.area.addEventListener("pointerdown", (event) => {
      const box = this.area.getBoundingClientRect();
      onSeek(1 + ((event.clientX - box.left) / box.width) * (steps - 1));
    });
  }

  // Where a step, counted from 1, lies.
  at(step) {
    return `${this.steps > 1 ? (100 * (step - 1)) / (this.steps - 1) : 50}%`;
  }

  paint() {
    const ratio = devicePixelRatio || 1, width = Math.round(this.area.clientWidth * ratio), height = Math.round(this.area.clientHeight * ratio);
    if (!width || !height) return;
    Object.assign(this.canvas, { width, height });
    const context = this.canvas.getContext("2d");
    context.lineWidth = (this.points.length > 400 ? 1 : 1.6) * ratio;
    for (const { d, tone, filled } of this.paths(width, height, ratio)) {
      context[filled ? "fillStyle" : "strokeStyle"] = colour(tone);
      context[filled ? "fill" : "stroke"](new Path2D(d));
    }
  }

  // The curves as paths of SVG, in a box of this size.
  paths(width, height, inset) {
    const steps = range(this.points.length), base = new Float32Array(steps.length);
    const x = (p) => (this.steps > 1 ? ((this.points[p] - 1) / (this.steps - 1)) * width : width / 2);
    const y = (v) => height - ((v - this.low) / (this.high - this.low)) * (height - 2 * inset) - inset;
    const at = (p, v) => `${x(p).toFixed(2)} ${y(v).toFixed(2)}`;
    return this.series.map((s) => {
      if (this.stacked) {
        const below = steps.map((p) => at(p, base[p]));
        const above = steps.map((p) => at(p, (base[p] += Number.isFinite(s.values[p]) ? s.values[p] : 0)));
        return { d: `M${[...below, ...above.reverse()].join("L")}Z`, tone: s.colour, filled: true };
      }
      let d = "", pen = false;
      for (const p of steps) {
        const v = this.logarithmic ? Math.log10(s.values[p]) : s.values[p];
        if (Number.isFinite(v)) d += (pen ? "L" : "M") + at(p, v);
        pen = Number.isFinite(v);
      }
      return { d, tone: s.colour, filled: false };
    });
  }

  show(step) {
    let p = 0, end = this.points.length - 1;
    while (p < end) { const middle = (p + end + 1) >> 1; if (this.points[middle] <= step) p = middle; else end = middle - 1; }
    this.cursor.style.left = this.at(step);
    this.series.forEach((s, k) => {
      this.readings[k].textContent = this.percent || this.stacked ? share(s.values[p]) : number(s.values[p]);
    });
  }
}
