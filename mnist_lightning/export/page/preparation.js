// From a drawing to MNIST's format: finds the digit on a clean canvas, then follows read/mnist_format.py. A mask is { width, height, data }, with 1 in data for ink.

const SIDE = 28, BOX_SIDE = 20, CENTRE = 14, SUBPIXELS = 8;
const MIN_STROKE_WIDTH = 2.2, MAX_STROKE_WIDTH = 3.6;
const MAX_GAP = 0.2, MIN_PIECE_SIZE = 0.03, MIN_OTHER_DIGIT_SIZE = 0.3, MIN_OTHER_DIGIT_HEIGHT = 0.7;
const PEN_WIDTH = 1 / 14; // of the canvas's side, in proportion to MNIST's strokes
// Ink as a fraction of the square on the longer side: 0.68 or less in 59,994 of MNIST's 60,000 training images.
const MAX_INK = 0.7;
const TWO_DIGITS = { answer: "Two digits?", hint: "Draw one at a time." };
const NO_DIGIT = { answer: "Not a digit?", hint: "Draw one, large, with open loops." };

// Draws strokes, lists of points [x, y] in canvas pixels, magnified about the point (left, top).
function drawStrokes(context, strokes, penWidth, scale = 1, left = 0, top = 0) {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(scale, 0, 0, scale, -left * scale, -top * scale);
  context.lineWidth = penWidth;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    context.lineTo(stroke[0][0] + 0.01, stroke[0][1]); // a line of length 0 would not be drawn
    for (const point of stroke) context.lineTo(...point);
    context.stroke();
  }
}

// Returns { pixels }, 28×28 in 0..255, or { problem }; `context` is the canvas with the strokes.
function prepare(strokes, context) {
  const { width, height } = context.canvas;
  const { pieces, labels } = findPieces(readMask(context, width, height));
  const { kept, problem } = chooseDigit(pieces, width, height);
  if (problem) return { problem };
  // Draws the kept strokes again, so that a small digit has smooth edges.
  const box = boxOf(kept.flatMap(({ pixels }) => pixels), width);
  const longer = Math.max(box.right - box.left, box.bottom - box.top);
  const margin = Math.max(3, Math.floor(longer / 10));
  const left = Math.max(0, box.left - margin), top = Math.max(0, box.top - margin);
  const sides = [Math.min(width, box.right + margin) - left, Math.min(height, box.bottom + margin) - top];
  const scale = Math.max(1, (SUBPIXELS * BOX_SIDE) / Math.max(...sides));
  const [w, h] = sides.map((side) => Math.round(side * scale));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [w, h];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const clamp = (value, size) => Math.min(Math.max(0, Math.floor(value)), size - 1);
  const isKept = ([x, y]) => kept.includes(pieces[labels[clamp(y, height) * width + clamp(x, width)] - 1]);
  drawStrokes(pen, strokes.filter((stroke) => stroke.some(isKept)), PEN_WIDTH * width, scale, left, top);
  return toMnistFormat(readMask(pen, w, h));
}

function readMask(context, width, height) {
  const { data } = context.getImageData(0, 0, width, height);
  return makeMask(width, height, (i) => data[4 * i + 3] > 127);
}

function makeMask(width, height, isInk) {
  const data = new Uint8Array(width * height);
  for (let i = 0; i < data.length; i++) data[i] = isInk(i) ? 1 : 0; // several times as fast as Uint8Array.from
  return { width, height, data };
}

// The connected pieces { pixels, box } of a mask, and their numbers from 1 in `labels`.
function findPieces({ width, height, data }) {
  const labels = new Int32Array(width * height), pieces = [];
  for (let first = 0; first < data.length; first++) {
    if (!data[first] || labels[first]) continue;
    const pixels = [first];
    labels[first] = pieces.length + 1;
    for (let next = 0; next < pixels.length; next++) {
      const x = pixels[next] % width, y = (pixels[next] - x) / width;
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          const pixel = v * width + u;
          if (data[pixel] && !labels[pixel]) {
            labels[pixel] = pieces.length + 1;
            pixels.push(pixel);
          }
        }
      }
    }
    pieces.push({ pixels, box: boxOf(pixels, width) });
  }
  return { pieces, labels };
}

function boxOf(pixels, width) {
  let left = Infinity, right = 0, top = Infinity, bottom = 0;
  for (const pixel of pixels) {
    const x = pixel % width, y = (pixel - x) / width;
    if (x < left) left = x;
    if (x >= right) right = x + 1;
    if (y < top) top = y;
    if (y >= bottom) bottom = y + 1;
  }
  return { left, right, top, bottom };
}

// Returns { kept }, the pieces of the digit without specks, or { problem }.
function chooseDigit(pieces, width, height) {
  const area = ({ left, right, top, bottom }) => (right - left) * (bottom - top);
  const main = pieces.reduce((best, piece) => (area(piece.box) > area(best.box) ? piece : best));
  const mainHeight = main.box.bottom - main.box.top;
  const longer = Math.max(mainHeight, main.box.right - main.box.left);
  if (main.pixels.length > MAX_INK * longer ** 2) return { problem: NO_DIGIT };
  const isDigit = ({ pixels, box }) => {
    const ratio = (box.bottom - box.top) / mainHeight;
    const isAsTall = MIN_OTHER_DIGIT_HEIGHT <= ratio && ratio <= 1 / MIN_OTHER_DIGIT_HEIGHT;
    return isAsTall && pixels.length >= MIN_OTHER_DIGIT_SIZE * main.pixels.length;
  };
  // Pieces above each other are strokes, as in a 5 with a separate bar.
  const isBeside = ({ box }) => box.right <= main.box.left || main.box.right <= box.left;
  const kept = [main];
  let others = pieces.filter((piece) => piece !== main && piece.pixels.length >= MIN_PIECE_SIZE * main.pixels.length);
  while (others.length > 0) {
    const data = new Uint8Array(width * height);
    for (const { pixels } of kept) for (const pixel of pixels) data[pixel] = 1;
    const gaps = distances({ width, height, data }, 1);
    const near = others.filter(({ pixels }) => pixels.some((pixel) => gaps[pixel] <= MAX_GAP * longer));
    if (near.length === 0) break;
    if (near.some((piece) => isDigit(piece) && isBeside(piece))) return { problem: TWO_DIGITS };
    kept.push(...near);
    others = others.filter((piece) => !near.includes(piece));
  }
  if (others.some(isDigit)) return { problem: TWO_DIGITS };
  const size = (some) => some.reduce((sum, { pixels }) => sum + pixels.length, 0);
  return size(others) > size(kept) ? { problem: NO_DIGIT } : { kept };
}

// Euclidean distance of each pixel to the nearest pixel with `value`, in linear time: Felzenszwalb and Huttenlocher,
// "Distance transforms of sampled functions" (2012).
function distances({ width, height, data }, value) {
  const result = new Float32Array(width * height), far = width + height;
  for (let x = 0; x < width; x++) {
    for (let i = x, gap = far; i < data.length; i += width) result[i] = gap = data[i] === value ? 0 : gap + 1;
    for (let i = data.length - width + x, gap = far; i >= 0; i -= width) {
      gap = data[i] === value ? 0 : gap + 1;
      if (gap < result[i]) result[i] = gap;
    }
  }
  const squares = new Float64Array(width), vertices = new Int32Array(width), starts = new Float64Array(width + 1);
  const meet = (a, b) => (squares[a] + a * a - squares[b] - b * b) / (2 * (a - b)); // two parabolas
  for (let row = 0; row < data.length; row += width) {
    for (let x = 0; x < width; x++) squares[x] = result[row + x] ** 2;
    let last = 0;
    vertices[0] = 0;
    starts[0] = -Infinity;
    for (let x = 1; x < width; x++) {
      while (meet(x, vertices[last]) <= starts[last]) last--;
      starts[last + 1] = meet(x, vertices[last]);
      vertices[++last] = x;
    }
    starts[last + 1] = Infinity;
    for (let x = 0, k = 0; x < width; x++) {
      while (starts[k + 1] < x) k++;
      const apart = x - vertices[k];
      result[row + x] = Math.sqrt(apart * apart + squares[vertices[k]]);
    }
  }
  return result;
}

function toMnistFormat(mask) {
  let shape = crop(mask);
  const pixel = Math.max(shape.width, shape.height) / BOX_SIDE; // of the result, in pixels of the shape
  const width = strokeWidth(shape) / pixel;
  const target = Math.min(Math.max(width, MIN_STROKE_WIDTH), MAX_STROKE_WIDTH);
  if (target !== width) shape = crop(changeStrokeWidth(shape, width * pixel, target * pixel));
  return { pixels: centre(fitToBox(shape)) };
}

// Four times the mean distance to the edge, as within a strip.
function strokeWidth(shape) {
  let sum = 0, count = 0;
  const padded = cut(shape, { left: -1, right: shape.width + 1, top: -1, bottom: shape.height + 1 });
  for (const distance of distances(padded, 0)) {
    sum += distance;
    count += distance > 0 ? 1 : 0;
  }
  return (4 * sum) / count;
}

function crop(mask) {
  const pixels = [];
  for (let i = 0; i < mask.data.length; i++) if (mask.data[i]) pixels.push(i);
  return cut(mask, boxOf(pixels, mask.width));
}

// The part of a mask within a box, which may be larger than the mask.
function cut(mask, { left, right, top, bottom }) {
  const width = right - left, height = bottom - top, data = new Uint8Array(width * height);
  for (let y = Math.max(0, top); y < Math.min(mask.height, bottom); y++) {
    const row = mask.data.subarray(y * mask.width + Math.max(0, left), y * mask.width + Math.min(mask.width, right));
    data.set(row, (y - top) * width + Math.max(0, -left));
  }
  return { width, height, data };
}

function changeStrokeWidth(shape, width, target) {
  const change = (target - width) / 2;
  const margin = Math.max(1, Math.trunc(change) + 2);
  shape = cut(shape, { left: -margin, right: shape.width + margin, top: -margin, bottom: shape.height + margin });
  const { data, width: w, height: h } = shape;
  if (change > 0) {
    const gap = distances(shape, 1);
    return makeMask(w, h, (i) => gap[i] <= change);
  }
  const depth = distances(shape, 0);
  // Narrow parts would vanish, so the pixels within half the target width of the middle lines stay.
  const around = [-w - 1, -w, -w + 1, -1, 1, w - 1, w, w + 1];
  const isMiddle = (i) => data[i] && depth[i] <= target / 2 - change && around.every((o) => depth[i] >= depth[i + o]);
  const toMiddle = distances(makeMask(w, h, isMiddle), 1);
  return makeMask(w, h, (i) => depth[i] > -change || (data[i] && toMiddle[i] <= target / 2));
}

// Resizes a shape so that its longer side is 20; the mean over areas anti-aliases the edges.
function fitToBox(shape) {
  const scale = BOX_SIDE / Math.max(shape.width, shape.height);
  const width = Math.max(1, roundHalfToEven(shape.width * scale));
  const height = Math.max(1, roundHalfToEven(shape.height * scale));
  // The same whole pixels as Pillow's BOX filter averages.
  const spans = (from, to) => Array.from({ length: to }, (_, i) =>
    [i, i + 1].map((edge) => Math.floor((edge * from) / to + 0.5)));
  const values = [];
  for (const [top, bottom] of spans(shape.height, height)) {
    for (const [left, right] of spans(shape.width, width)) {
      let sum = 0;
      for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += shape.data[y * shape.width + x];
      values.push(sum / ((bottom - top) * (right - left)));
    }
  }
  return { width, height, values };
}

// Places a digit in 28×28 pixels, with its centre of mass in the middle to the nearest pixel.
function centre({ width, height, values }) {
  const sum = values.reduce((total, value) => total + value, 0);
  const place = (length, position) => {
    const mean = values.reduce((total, value, i) => total + value * position(i), 0) / sum;
    return Math.min(Math.max(0, roundHalfToEven(CENTRE - mean)), SIDE - length);
  };
  const left = place(width, (i) => i % width), top = place(height, (i) => Math.floor(i / width));
  const pixels = new Uint8Array(SIDE * SIDE);
  values.forEach((value, i) => {
    pixels[(top + Math.floor(i / width)) * SIDE + left + (i % width)] = roundHalfToEven(255 * value);
  });
  return pixels;
}

// As Python rounds: symmetric digits have their centre of mass between two pixels.
function roundHalfToEven(number) {
  const rounded = Math.round(number);
  return rounded - number === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
