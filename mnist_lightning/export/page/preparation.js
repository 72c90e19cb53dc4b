// From strokes to MNIST's format: a digit in a box of 20 pixels, centred by its mass in 28×28.
// A stroke is a list of points [x, y] on the paper; a piece is a list of strokes whose ink touches.

const PAPER_SIDE = 400, PEN_WIDTH = PAPER_SIDE / 14, STEP = 3;
const SIDE = 28, BOX_SIDE = 20, CENTRE = 14;
// Of MNIST's 2.2 to 3.6 pixels, the width at which models/mnist.ckpt read most of 600 drawings (pen_strokes.py).
const STROKE_WIDTH = 3.2;
const MAX_GAP = 0.2, MIN_PIECE_SIZE = 0.03, MIN_OTHER_DIGIT_SIZE = 0.3, MIN_OTHER_DIGIT_HEIGHT = 0.7;
// Ink as a fraction of the square on the longer side: 0.68 or less in 59,994 of MNIST's 60,000 training images.
const MAX_INK = 0.7;
const TWO_DIGITS = { answer: "Two digits?", hint: "Draw one at a time." };
const NO_DIGIT = { answer: "Not a digit?", hint: "Draw one, large, with open loops." };

// Draws strokes, magnified about the paper's corner, which lies at (left, top) of the canvas.
function drawStrokes(context, strokes, penWidth, scale = 1, left = 0, top = 0) {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(scale, 0, 0, scale, left, top);
  context.lineWidth = penWidth;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  for (const stroke of strokes) {
    context.moveTo(...stroke[0]);
    context.lineTo(stroke[0][0] + 0.01, stroke[0][1]); // a line of length 0 would not be drawn
    for (const point of stroke) context.lineTo(...point);
  }
  context.stroke();
}

// Returns { pixels }, 28×28 in 0..255, or { problem }.
function prepare(strokes) {
  const { kept, problem } = chooseDigit(findPieces(strokes.flatMap(visibleParts)));
  if (problem) return { problem };
  const { longer } = boxOf(kept);
  return { pixels: fitToBox(kept, (STROKE_WIDTH * longer) / (BOX_SIDE - STROKE_WIDTH)) };
}

// The parts of a stroke whose ink is on the paper, with points at equal distances.
function visibleParts(stroke) {
  const parts = [[]];
  let last = null;
  const add = (point) => {
    last = point;
    const isVisible = point.every((place) => Math.abs(place - PAPER_SIDE / 2) < (PAPER_SIDE + PEN_WIDTH) / 2);
    if (isVisible) parts[0].push(point);
    else if (parts[0].length > 0) parts.unshift([]);
  };
  add(stroke[0]);
  for (const [x, y] of stroke) {
    for (let [u, v] = last, far; (far = Math.hypot(x - u, y - v)) >= STEP; [u, v] = last) {
      add([u + ((x - u) * STEP) / far, v + ((y - v) * STEP) / far]);
    }
  }
  return parts.filter((part) => part.length > 0);
}

function findPieces(strokes) {
  return strokes.reduce((pieces, stroke) => {
    const isTouching = (piece) => gapBetween(piece, [stroke]) <= 0;
    return [...pieces.filter((piece) => !isTouching(piece)), [stroke, ...pieces.filter(isTouching).flat()]];
  }, []);
}

// The distance between the ink of two pieces; not positive if they touch.
function gapBetween(piece, other) {
  let nearest = Infinity;
  for (const [x, y] of piece.flat()) {
    for (const [u, v] of other.flat()) nearest = Math.min(nearest, (x - u) ** 2 + (y - v) ** 2);
  }
  return Math.sqrt(nearest) - PEN_WIDTH;
}

// The box of the lines' middles; `longer` is its longer side.
function boxOf(piece) {
  const [xs, ys] = [0, 1].map((axis) => piece.flat().map((point) => point[axis]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return { left, right, top, bottom, longer: Math.max(right - left, bottom - top) };
}

// Returns { kept }, the strokes of the digit without specks, or { problem }.
function chooseDigit(pieces) {
  const size = (piece) => STEP * piece.flat().length + PEN_WIDTH; // the length of its ink
  const boxes = new Map(pieces.map((piece) => [piece, boxOf(piece)]));
  const height = (piece) => boxes.get(piece).bottom - boxes.get(piece).top + PEN_WIDTH;
  const area = (piece) => (boxes.get(piece).right - boxes.get(piece).left + PEN_WIDTH) * height(piece);
  const main = pieces.reduce((best, piece) => (area(piece) > area(best) ? piece : best));
  const ink = fitToBox(main, PEN_WIDTH).reduce((sum, pixel) => sum + pixel / 255, 0);
  if (ink > MAX_INK * BOX_SIDE ** 2) return { problem: NO_DIGIT };
  const isDigit = (piece) => {
    const ratio = height(piece) / height(main);
    const isAsTall = MIN_OTHER_DIGIT_HEIGHT <= ratio && ratio <= 1 / MIN_OTHER_DIGIT_HEIGHT;
    return isAsTall && size(piece) >= MIN_OTHER_DIGIT_SIZE * size(main);
  };
  // Pieces above each other are strokes, as in a 5 with a separate bar.
  const isBeside = (piece) => {
    const [box, { left, right }] = [boxes.get(piece), boxes.get(main)];
    return box.right + PEN_WIDTH <= left || right + PEN_WIDTH <= box.left;
  };
  const maxGap = MAX_GAP * (boxes.get(main).longer + PEN_WIDTH);
  let kept = main;
  let others = pieces.filter((piece) => piece !== main && size(piece) >= MIN_PIECE_SIZE * size(main));
  for (let near = [null]; near.length > 0; ) {
    near = others.filter((piece) => gapBetween(piece, kept) <= maxGap);
    if (near.some((piece) => isDigit(piece) && isBeside(piece))) return { problem: TWO_DIGITS };
    kept = [...kept, ...near.flat()];
    others = others.filter((piece) => !near.includes(piece));
  }
  if (others.some(isDigit)) return { problem: TWO_DIGITS };
  return size(others.flat()) > size(kept) ? { problem: NO_DIGIT } : { kept };
}

// Draws strokes in a box of 20 pixels, lines included, and moves them by whole pixels to their centre of mass.
function fitToBox(strokes, penWidth) {
  const { left, top, longer } = boxOf(strokes), scale = BOX_SIDE / (longer + penWidth);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const drawAt = (x, y) => {
    drawStrokes(pen, strokes, penWidth, scale, x + (penWidth / 2 - left) * scale, y + (penWidth / 2 - top) * scale);
    return pen.getImageData(0, 0, SIDE, SIDE).data.filter((_, i) => i % 4 === 3); // how opaque
  };
  const pixels = drawAt(0, 0), sum = pixels.reduce((total, value) => total + value, 0);
  const place = (position) => {
    return Math.round(CENTRE - pixels.reduce((total, value, i) => total + value * position(i), 0) / sum);
  };
  return drawAt(place((i) => i % SIDE), place((i) => Math.floor(i / SIDE)));
}
