// Unpacks the recording in the page: base64 -> deflated bytes -> typed arrays.

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function unpack(packed) {
  const stream = new Blob([bytesOf(packed.data)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  return packed.type === "int8" ? new Int8Array(buffer) : new Float32Array(buffer);
}

async function openRecording(element) {
  const recording = JSON.parse(element.textContent);
  const names = Object.keys(recording.arrays);
  const arrays = await Promise.all(names.map((name) => unpack(recording.arrays[name])));
  names.forEach((name, i) => (recording.arrays[name] = arrays[i]));
  const size = (shape) => shape.reduce((product, n) => product * n, 1);
  let moving = 0, still = 0, neurons = 0;
  for (const layer of recording.layers) {
    layer.size = size(layer.shape);
    layer.start = layer.plastic ? moving : still;
    if (layer.plastic) moving += layer.size; else still += layer.size;
  }
  for (const group of recording.groups) {
    group.size = size(group.shape);
    group.start = neurons;
    neurons += group.size;
  }
  recording.kept_numbers = 0;
  recording.held.forEach((held, k) => {
    Object.assign(held, { index: k, start: recording.kept_numbers });
    recording.kept_numbers += held.size;
  });
  recording.moving = moving;
  recording.neurons = neurons;
  recording.moments = recording.kept.length;
  return recording;
}

// The frames: decoded shortly before they are shown, released shortly after.
class Frames {
  constructor(packed, ahead = 24) {
    this.bytes = bytesOf(packed.data);
    this.ends = packed.ends;
    this.ahead = ahead;
    this.decoded = new Map();
  }

  get(moment) {
    for (let m = moment; m <= Math.min(moment + this.ahead, this.ends.length - 1); m++) this.decode(m);
    for (const m of this.decoded.keys()) {
      if (m < moment - this.ahead || m > moment + 2 * this.ahead) {
        this.decoded.get(m).bitmap?.close();
        this.decoded.delete(m);
      }
    }
    return this.decoded.get(moment);
  }

  decode(moment) {
    if (this.decoded.has(moment)) return;
    const start = moment ? this.ends[moment - 1] : 0;
    const entry = { bitmap: null, ready: null };
    this.decoded.set(moment, entry);
    if (start === this.ends[moment]) {
      entry.ready = Promise.resolve(null);
      return;
    }
    const blob = new Blob([this.bytes.subarray(start, this.ends[moment])], { type: "image/jpeg" });
    entry.ready = createImageBitmap(blob).then((bitmap) => {
      if (this.decoded.get(moment) === entry) entry.bitmap = bitmap; else bitmap.close();
      return entry.bitmap;
    });
  }
}
