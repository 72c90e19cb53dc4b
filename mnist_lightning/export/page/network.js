// The network: the layers of export/drawing_page.py on planes of channels, Float32Array in the order (C, H, W).
// JavaScript of 2020, as all scripts of this page: no modules, no build step.

function decodeFloats(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);  // little-endian, as every current browser's machine
}

function loadNetwork({ mean, std, layers }) {
  const loaded = layers.map((layer) =>
    "weight" in layer ? { ...layer, weight: decodeFloats(layer.weight), bias: decodeFloats(layer.bias) } : layer);
  return { mean, std, layers: loaded };
}

// Maps 28×28 pixels in 0..255 to { logits, outputs }, with the output of each layer.
function runNetwork({ mean, std, layers }, pixels) {
  const values = Float32Array.from(pixels, (pixel) => (pixel / 255 - mean) / std);
  let output = { channels: 1, side: Math.sqrt(pixels.length), values };
  const outputs = layers.map((layer) => (output = { kind: layer.kind, ...LAYERS[layer.kind](output, layer) }));
  return { logits: output.values, outputs };
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

const LAYERS = {
  convolution({ channels, side, values }, { weight, bias, padding }) {
    const wide = side + 2 * padding, size = wide - 2;
    const padded = new Float32Array(channels * wide * wide);
    for (let row = 0; row < channels * side; row++) {
      const start = (Math.floor(row / side) * wide + (row % side) + padding) * wide + padding;
      padded.set(values.subarray(row * side, (row + 1) * side), start);
    }
    const result = new Float32Array(bias.length * size * size);
    for (let out = 0; out < bias.length; out++) {
      const plane = result.subarray(out * size * size, (out + 1) * size * size).fill(bias[out]);
      for (let channel = 0; channel < channels; channel++) {
        const [a, b, c, d, e, f, g, h, i] = weight.subarray((out * channels + channel) * 9);
        for (let y = 0; y < size; y++) {
          let top = (channel * wide + y) * wide, middle = top + wide, bottom = middle + wide;
          for (let to = y * size; to < (y + 1) * size; to++, top++, middle++, bottom++) {
            plane[to] += a * padded[top] + b * padded[top + 1] + c * padded[top + 2]
              + d * padded[middle] + e * padded[middle + 1] + f * padded[middle + 2]
              + g * padded[bottom] + h * padded[bottom + 1] + i * padded[bottom + 2];
          }
        }
      }
    }
    return { channels: bias.length, side: size, values: result };
  },

  relu: ({ channels, side, values }) => ({ channels, side, values: values.map((value) => Math.max(value, 0)) }),

  max_pooling({ channels, side, values }, { size }) {
    const small = Math.floor(side / size);
    const result = new Float32Array(channels * small * small).fill(-Infinity);
    for (let channel = 0; channel < channels; channel++) {
      for (let y = 0; y < small * size; y++) {
        for (let x = 0; x < small * size; x++) {
          const to = (channel * small + Math.floor(y / size)) * small + Math.floor(x / size);
          result[to] = Math.max(result[to], values[(channel * side + y) * side + x]);
        }
      }
    }
    return { channels, side: small, values: result };
  },

  average_pooling({ channels, side, values }) {
    const area = side * side;
    const mean = (channel) => values.subarray(channel * area, (channel + 1) * area).reduce((a, b) => a + b, 0) / area;
    return { channels, side: 1, values: Float32Array.from({ length: channels }, (_, channel) => mean(channel)) };
  },

  flatten: ({ values }) => ({ channels: values.length, side: 1, values }),

  linear({ values }, { weight, bias }) {
    const result = bias.map((start, out) =>
      values.reduce((sum, value, i) => sum + value * weight[out * values.length + i], start));
    return { channels: bias.length, side: 1, values: result };
  },
};
