// The microscope: one recorded episode, step by step.

const COLOURS = ["--blue", "--orange", "--green", "--purple", "--sky", "--vermillion", "--yellow", "--grey"];

class LayerView {
  constructor(recording, index) {
    Object.assign(this, { recording, index, layer: recording.layers[index] });
    const { layer } = this;
    [this.pre, this.post] = [recording.groups[layer.pre], recording.groups[layer.post]];
    this.place = placement(layer.shape);
    const { width, height, places, postAcross, kernels } = this.place;
    const [across, down] = postAcross ? [this.post, this.pre] : [this.pre, this.post];
    this.map = new HeatMap(width, height, places, `Heat map of ${layer.name}, ${layer.label}; arrow keys select single weights`);
    this.mine = recording.held.filter((held) => held.layer === index);
    this.states = this.mine.filter((held) => held.group === null); // one value per weight
    this.earlier = layer.delay ? heldOf(recording, "earlier", layer.pre) : undefined;
    this.largest = new Map();
    this.shown = make("span");
    this.map.canvas.tabIndex = 0;
    this.mark = make("div", { className: "mark", hidden: true });
    const holder = make("div", { className: "holder" }, this.map.canvas, this.mark);
    holder.style.aspectRatio = `${width} / ${height}`;
    this.strips = [];
    this.bounds = [make("span"), make("span")];
    this.bar = make("i");
    const legend = make("span", { className: "scale" }, this.bounds[0], this.bar, this.bounds[1]);
    const sizes = kernels ? `${layer.shape[0]} \u00d7 ${layer.shape[1]} kernels of ${layer.shape[2]} \u00d7 ${layer.shape[3]}` : `${this.pre.size} \u00d7 ${this.post.size}`;
    const title = make("figcaption", {}, make("b", { textContent: layer.label }), ` ${sizes}${layer.plastic ? "" : ", static"}`, this.shown, " ", legend);
    const body = make("div", { className: kernels ? "matrix kernels" : "matrix" });
    const most = Math.min(width * 56, (420 * width) / height);
    body.style.maxWidth = `${Math.max(most, 120) + 26}px`;
    if (kernels) {
      body.append(holder);
    } else {
      const top = new HeatMap(across.size, 1, range(across.size), `Activations of ${across.name}`);
      const left = new HeatMap(1, down.size, range(down.size), `Activations of ${down.name}`);
      // The two groups may be the same; the position distinguishes them.
      this.strips = postAcross ? [[across, top, null], [down, left, this.earlier]] : [[across, top, this.earlier], [down, left, null]];
      const called = this.strips.map(([group, , earlier]) => group.name + (earlier ? ", step before" : ""));
      const side = make("span", { className: "axis down", textContent: called[1] });
      body.append(make("span", { className: "axis across", textContent: called[0] }), make("div", { className: "strip top" }, top.canvas), side, make("div", { className: "strip left" }, left.canvas), holder);
    }
    this.figure = make("figure", { className: "layer" }, title, body);
  }

  scale(moment, state = null) {
    const { arrays, layers, held } = this.recording;
    return state ? arrays.held_scales[moment * held.length + state.index] : arrays.scales[moment * layers.length + this.index];
  }

  codes(moment, state = null) {
    const { recording, layer } = this;
    if (state) return [recording.arrays.held, moment * recording.kept_numbers + state.start];
    return layer.plastic ? [recording.arrays.weights, moment * recording.moving + layer.start] : [recording.arrays.still, layer.start];
  }

  // `what`: name of a state to show in place of the weights, if this layer has it.
  draw(moment, wholeLife, what = "") {
    const state = this.state = this.states.find((held) => held.name === what) ?? null;
    const mine = this.scale(moment, state);
    if (!this.largest.has(state)) this.largest.set(state, range(this.recording.moments).reduce((high, m) => Math.max(high, this.scale(m, state)), 0));
    const full = wholeLife ? this.largest.get(state) : mine;
    this.map.draw(...this.codes(moment, state), full > 0 ? mine / full : 0);
    this.shown.textContent = state ? `, ${state.name}` : "";
    this.bounds[0].textContent = number(-full);
    this.bounds[1].textContent = `+${number(full)}`;
    if (this.painted !== palette) this.bar.style.background = gradient();
    this.painted = palette;
    for (const [group, strip, earlier] of this.strips) earlier ? drawHeld(this.recording, earlier, strip, moment) : drawGroup(this.recording, group, strip, moment);
  }

  weight(moment, k) {
    const [codes, start] = this.codes(moment);
    return codes[start + k] === -128 ? NaN : (codes[start + k] / 127) * this.scale(moment);
  }

  // Contents of the tooltip: the two neurons of a weight, their activations and their rules.
  describe(moment, k) {
    const { recording, layer, pre, post } = this;
    const step = recording.kept[moment], weight = number(this.weight(moment, k));
    const lines = [];
    const row = (...cells) => make("tr", {}, ...cells.map((text, c) => make(c ? "td" : "th", { textContent: text })));
    const table = make("table");
    if (this.place.kernels) {
      const [, ins, rows, columns] = layer.shape;
      const [o, i, y, x] = [Math.floor(k / (ins * rows * columns)), Math.floor(k / (rows * columns)) % ins, Math.floor(k / columns) % rows, k % columns];
      lines.push(make("b", { textContent: `kernel element: output channel ${o}, input channel ${i}, row ${y}, column ${x}` }));
      lines.push(make("div", { textContent: `weight ${weight} after step ${step}` }));
      for (const state of this.states) lines.push(make("div", { textContent: `${state.name} ${number(heldValue(recording, state, moment, k))}` }));
      if (!layer.synapses) lines.push(make("div", { textContent: "shared by many pairs of neurons, so there is no single pair of rules" }));
    } else {
      const ins = layer.shape[1], i = k % ins, o = Math.floor(k / ins);
      lines.push(make("b", { textContent: `${pre.name} ${i} \u2192 ${post.name} ${o}` }));
      lines.push(make("div", { textContent: `weight ${weight} after step ${step}` }));
      table.append(row("", `${pre.name} ${i}`, `${post.name} ${o}`));
      const before = this.earlier ? heldValue(recording, this.earlier, moment, i) : activation(recording, pre, moment, i);
      table.append(row("activation", this.earlier ? `${number(before)} (step before)` : number(before), number(activation(recording, post, moment, o))));
      if (layer.plastic) {
        const seen = [(layer.delay && heldOf(recording, "before", layer.pre)) || heldOf(recording, "seen", layer.pre), heldOf(recording, "seen", layer.post)];
        if (seen[0] && seen[1]) table.append(row("input of the rule", number(heldValue(recording, seen[0], moment, i)), number(heldValue(recording, seen[1], moment, o))));
      }
      for (const state of this.mine) {
        if (state.group === null) lines.push(make("div", { textContent: `${state.name} ${number(heldValue(recording, state, moment, k))}` }));
        else table.append(row(state.name, ...(state.name.endsWith("_pre_trace") ? [number(heldValue(recording, state, moment, i)), "\u2013"] : ["\u2013", number(heldValue(recording, state, moment, o))])));
      }
      if (layer.plastic) {
        const names = [...new Set([...(pre.block?.parameters ?? []), ...(post.block?.parameters ?? [])])];
        for (const name of names) table.append(row(name, ...[[pre, i], [post, o]].map(([group, n]) => parameter(recording, group.block, n, name))));
      }
    }
    if (layer.synapses) for (const name of layer.synapses.parameters) table.append(row(`${name} of this synapse`, parameter(recording, layer.synapses, k, name)));
    if (!layer.plastic) lines.push(make("div", { textContent: "evolved; no rule changes it" }));
    return [...lines, table];
  }
}

function parameter(recording, block, n, name) {
  const place = block?.parameters.indexOf(name) ?? -1;
  return place < 0 ? "\u2013" : number(recording.arrays.genome[block.start + n * block.parameters.length + place]);
}

function activation(recording, group, moment, n) {
  const { arrays, groups, neurons } = recording;
  return (arrays.activations[moment * neurons + group.start + n] / 127) * arrays.activation_scales[moment * groups.length + groups.indexOf(group)];
}

// Activations in [-1, 1] are shown on that scale, larger ones on the scale of their step.
function drawGroup(recording, group, map, moment) {
  const scale = recording.arrays.activation_scales[moment * recording.groups.length + recording.groups.indexOf(group)];
  map.draw(recording.arrays.activations, moment * recording.neurons + group.start, Math.min(1, scale));
}

// State beside weights and activations, of a group or of a layer.
function heldOf(recording, kind, group) {
  return recording.held.find((held) => held.kind === kind && held.group === group && held.layer === null);
}

function heldValue(recording, held, moment, n) {
  const { arrays } = recording, code = arrays.held[moment * recording.kept_numbers + held.start + n];
  return code === -128 ? NaN : (code / 127) * arrays.held_scales[moment * recording.held.length + held.index];
}

function drawHeld(recording, held, map, moment) {
  const scale = recording.arrays.held_scales[moment * recording.held.length + held.index];
  // Averages and the like are shown as activations are, a state of a rule on the scale of its step.
  const full = held.kind === "memory" ? scale : Math.max(1, scale);
  map.draw(recording.arrays.held, moment * recording.kept_numbers + held.start, full > 0 ? scale / full : 0);
  return full;
}

class HeldView {
  constructor(recording, held) {
    Object.assign(this, { recording, held });
    const group = recording.groups[held.group], layer = recording.layers[held.layer];
    const { width, height, places } = group.shape.length === 3 ? tiles(group.shape) : { width: group.size, height: 1, places: range(group.size) };
    this.name = `${held.name} of ${group.name}${layer ? `, ${layer.label}` : ""}`;
    this.map = new HeatMap(width, height, places, this.name);
    this.bound = make("span", { className: "scale" });
    const holder = make("div", { className: "holder" }, this.map.canvas);
    holder.style.aspectRatio = `${width} / ${height}`;
    holder.style.maxWidth = `${Math.min(width * 28, height > 1 ? (220 * width) / height : 420)}px`;
    this.figure = make("figure", { className: "layer" }, make("figcaption", {}, make("b", { textContent: group.name }), ` ${held.name}${layer ? ` (${layer.label})` : ""}`, this.bound), holder);
  }

  draw(moment) {
    this.bound.textContent = `\u00b1 ${number(drawHeld(this.recording, this.held, this.map, moment))}`;
  }
}

class WindowView {
  constructor(recording, group) {
    Object.assign(this, { recording, group });
    const steps = recording.window;
    this.map = new HeatMap(group.size, steps, range(group.size * steps), `Activations of ${group.name} in the window`);
    const holder = make("div", { className: "holder" }, this.map.canvas);
    holder.style.aspectRatio = `${group.size} / ${steps}`;
    holder.style.maxWidth = `${Math.min(group.size * 28, (240 * group.size) / steps)}px`;
    this.figure = make("figure", { className: "layer" }, make("figcaption", {}, make("b", { textContent: group.name }), ` ${group.size} neurons, ${steps} steps, the latest at the bottom`), holder);
    this.codes = new Int8Array(group.size * steps);
  }

  draw(moment) {
    const { recording, group, codes } = this, steps = recording.window, { neurons, groups, arrays } = recording;
    for (let s = 0; s < steps; s++) {
      const from = (moment * steps + s) * neurons + group.start;
      codes.set(arrays.window.subarray(from, from + group.size), s * group.size);
    }
    this.map.draw(codes, 0, Math.min(1, arrays.activation_scales[moment * groups.length + groups.indexOf(group)]));
  }
}

class MapsView {
  constructor(recording, group) {
    Object.assign(this, { recording, group });
    const { width, height, places } = tiles(group.shape);
    this.map = new HeatMap(width, height, places, `Feature maps of ${group.name}`);
    const holder = make("div", { className: "holder" }, this.map.canvas);
    holder.style.aspectRatio = `${width} / ${height}`;
    holder.style.maxWidth = `${Math.min(width * 10, (220 * width) / height)}px`;
    this.figure = make("figure", { className: "layer" }, make("figcaption", {}, make("b", { textContent: group.name }), ` ${group.shape.join(" \u00d7 ")} activations`), holder);
  }

  draw(moment) {
    drawGroup(this.recording, this.group, this.map, moment);
  }
}

function charts(recording, onSeek) {
  const { arrays, steps, layers, groups } = recording, { points } = arrays;
  const columns = (array, width, k) => Float32Array.from(points, (_, p) => array[p * width + k]);
  const named = layers.map((layer) => layer.label);
  const common = { points, steps, perturbed: recording.perturbed, onSeek };
  const made = [];
  made.push(new Chart({ ...common, title: "Reward of each step", series: [{ name: "reward", colour: "--vermillion", values: arrays.reward }] }));
  if (arrays.modulation) made.push(new Chart({ ...common, title: `Modulation m(t): ${recording.modulate}`, series: [{ name: "m(t)", colour: "--purple", values: arrays.modulation }] }));
  const perLayer = (title, array, options = {}, which = range(layers.length)) => new Chart({ ...common, ...options, title, series: which.map((k, n) => ({ name: named[k], colour: COLOURS[k % 8], values: columns(array, which.length, n) })) });
  made.push(perLayer("Weight norm (Frobenius)", arrays.norm));
  const traced = recording.held.filter((held) => held.kind === "trace").map((held) => held.layer);
  if (traced.length) made.push(perLayer("Trace norm (Frobenius)", arrays.trace, {}, traced));
  const neurons = new Chart({ ...common, percent: true, title: `Saturation: neurons with |activation| > ${recording.saturated}`, series: groups.map((group, g) => ({ name: group.name, colour: COLOURS[g % 8], values: columns(arrays.saturation, groups.length, g) })).slice(1) });
  made.push(neurons);
  if (recording.normalised) made.push(perLayer(`Saturation: weights with |weight| > ${recording.saturated}`, arrays.saturated_weights, { percent: true }));
  const terms = [], many = Math.max(...layers.map((layer) => layer.terms.length));
  layers.forEach((layer, k) => {
    if (!layer.terms.length) return;
    const all = layer.terms.map((_, t) => columns(arrays.terms, layers.length * many, k * many + t));
    const total = points.map((_, p) => all.reduce((sum, values) => sum + values[p], 0));
    const series = layer.terms.map((name, t) => ({ name, colour: COLOURS[t % 8], values: all[t].map((v, p) => v / total[p]) }));
    terms.push(new Chart({ ...common, stacked: true, title: named[k], series }));
  });
  const changing = layers.some((layer) => layer.plastic) ? [perLayer("Change of the weights in each step (sum of |change|)", arrays.change)] : [];
  return { side: made, terms, changing };
}

async function microscope(root) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const recording = await openRecording(document.getElementById("recording"));
  const { moments, kept, steps, layers, groups } = recording;
  const slider = part("slider"), button = part("play"), speed = part("speed"), scale = part("scale"), what = part("what"), now = part("now"), tip = part("tip");
  const times = [];
  let current = 0, playing = 0;

  const views = layers.map((_, k) => new LayerView(recording, k));
  const more = recording.window ? groups.map((group) => new WindowView(recording, group)) : groups.filter((group) => group.shape.length === 3).map((group) => new MapsView(recording, group));
  const kept_of_neurons = recording.held.filter((held) => held.group !== null && (held.kind === "seen" || held.kind === "memory")).map((held) => new HeldView(recording, held));
  for (const name of new Set(views.flatMap((view) => view.states.map((state) => state.name)))) what.append(make("option", { textContent: name, value: name }));
  part("what-box").hidden = what.options.length < 2;
  const drawn = charts(recording, (step) => show(nearest(step)));
  const everyChart = [...drawn.side, ...drawn.terms, ...drawn.changing];
  part("layers").append(...views.map((view) => view.figure));
  part("more").append(...more.map((view) => view.figure));
  part("held").append(...kept_of_neurons.map((view) => view.figure));
  part("side").append(...drawn.side.map((chart) => chart.figure));
  part("terms").append(...drawn.terms.map((chart) => chart.figure));
  part("changing").append(...drawn.changing.map((chart) => chart.figure));
  for (const name of ["more", "held", "terms", "changing"]) part(`${name}-box`).hidden = !part(name).children.length;

  const keep = (figure, name, state = () => "") => savable(figure, name, () => svgOfFigure(figure), () => `${state()} step ${kept[current]}`);
  for (const view of views) keep(view.figure, `weights ${view.layer.label.replace("\u2192", "to")}`, () => view.state?.name ?? "");
  for (const view of kept_of_neurons) keep(view.figure, view.name.replace("\u2192", "to"));
  for (const view of more) keep(view.figure, `activations of ${view.group.name}`);
  for (const chart of everyChart) keep(chart.figure, chart.title);

  const frames = recording.frames && new Frames(recording.frames);
  const canvas = part("frame");
  if (frames) Object.assign(canvas, { width: recording.frames.width, height: recording.frames.height });
  canvas.closest("figure").hidden = !frames;
  if (frames) keep(canvas.closest("figure"), "world");
  const screen = canvas.getContext("2d");

  const nearest = (step) => kept.reduce((best, k, m) => (Math.abs(k - step) < Math.abs(kept[best] - step) ? m : best), 0);

  function show(moment) {
    const began = performance.now();
    current = Math.max(0, Math.min(moments - 1, moment));
    slider.value = current;
    slider.setAttribute("aria-valuetext", `step ${kept[current]} of ${steps}`);
    now.textContent = `step ${kept[current].toLocaleString("en")} of ${steps.toLocaleString("en")}`;
    for (const view of [...views, ...more, ...kept_of_neurons]) view.draw(current, scale.value === "life", what.value);
    for (const chart of everyChart) chart.show(kept[current]);
    if (frames) {
      const wanted = current, entry = frames.get(current);
      const paint = (bitmap) => bitmap && wanted === current && screen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      if (entry.bitmap) paint(entry.bitmap); else entry.ready.then(paint);
    }
    if (selected) point(selected.view, selected.k, selected.x, selected.y);
    times.push(performance.now() - began);
    if (times.length > 600) times.shift();
  }

  function play() {
    if (current >= moments - 1) show(0);
    const session = ++playing;
    button.textContent = "\u23f8 Pause";
    button.setAttribute("aria-pressed", "true");
    let due = performance.now();
    const tick = (time) => {
      if (session !== playing) return;
      const interval = 1000 / Number(speed.value);
      if (time >= due) {
        const forward = Math.max(1, Math.floor((time - due) / interval) + 1);
        due += forward * interval;
        show(current + forward);
        if (current >= moments - 1) return pause();
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  function pause() {
    playing++;
    button.textContent = "\u25b6 Play";
    button.setAttribute("aria-pressed", "false");
  }

  // Selecting one weight with pointer, finger or arrow keys.
  let selected = null;
  function point(view, k, x, y) {
    selected = { view, k, x, y };
    const { width, height } = view.map.canvas, pixel = view.place.places[k];
    Object.assign(view.mark.style, { left: `${(100 * (pixel % width)) / width}%`, top: `${(100 * Math.floor(pixel / width)) / height}%`, width: `${100 / width}%`, height: `${100 / height}%` });
    for (const other of views) other.mark.hidden = other !== view;
    tip.replaceChildren(...view.describe(current, k));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 16, innerWidth - box.width - 8))}px`;
    tip.style.top = `${y + 20 + box.height > innerHeight ? Math.max(8, y - box.height - 12) : y + 20}px`;
  }
  function forget() {
    selected = null;
    tip.hidden = true;
    for (const view of views) view.mark.hidden = true;
  }
  for (const view of views) {
    const look = (event) => {
      const k = view.map.at(event.clientX, event.clientY);
      if (k >= 0) point(view, k, event.clientX, event.clientY); else forget();
    };
    view.map.canvas.addEventListener("pointermove", look);
    view.map.canvas.addEventListener("pointerdown", look);
    view.map.canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && forget());
    view.map.canvas.addEventListener("blur", forget);
    view.map.canvas.addEventListener("keydown", (event) => {
      const { width, height } = view.map.canvas, jump = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width }[event.key];
      if (event.key === "Escape") return forget();
      if (!jump) return;
      event.preventDefault();
      let pixel = selected?.view === view ? view.place.places[selected.k] + jump : 0;
      while (pixel >= 0 && pixel < width * height && view.map.numbers[pixel] < 0) pixel += jump;
      if (pixel < 0 || pixel >= width * height) return;
      const box = view.map.canvas.getBoundingClientRect();
      point(view, view.map.numbers[pixel], box.left + ((pixel % width) + 0.5) * (box.width / width), box.top + (Math.floor(pixel / width) + 0.5) * (box.height / height));
    });
  }
  document.addEventListener("pointerdown", (event) => event.target.closest(".layer") || forget());
  addEventListener("scroll", () => selected && forget(), { passive: true });

  slider.max = moments - 1;
  slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
  button.addEventListener("click", () => (button.getAttribute("aria-pressed") === "true" ? pause() : play()));
  for (const choice of [scale, what]) choice.addEventListener("change", () => show(current));
  const all = () => { repaint(); for (const chart of everyChart) chart.paint(); show(current); };
  dark.addEventListener("change", all);
  addEventListener("beforeprint", () => { printing = true; all(); });
  addEventListener("afterprint", () => { printing = false; all(); });
  new ResizeObserver(() => everyChart.forEach((chart) => chart.paint())).observe(root);

  // If the weights grow a lot, one scale for the whole episode would hide the first steps.
  const spread = views.some((view) => { const all = range(moments).map((m) => view.scale(m)).filter((s) => s > 0); return Math.max(...all) > 10 * Math.min(...all); });
  scale.value = spread ? "moment" : "life";
  part("state").hidden = true;
  part("body").hidden = false;
  all();
  root.dataset.ready = "yes";
  window.nchlMicroscope = { show, play, pause, times, moments, get current() { return current; }, get playing() { return button.getAttribute("aria-pressed") === "true"; } };
}

const section = document.getElementById("microscope");
if (section && document.getElementById("recording")) {
  microscope(section).catch((error) => {
    section.querySelector('[data-part="state"]').textContent = typeof DecompressionStream === "undefined"
      ? "This browser is too old to unpack the recording; it needs a newer one (Chromium 80, Firefox 113, Safari 16.4)."
      : `The recording cannot be shown: ${error.message}`;
  });
}
