// The page: strokes in, answer, bars and pictures out.

const model = JSON.parse(document.getElementById("model").textContent);
const network = loadNetwork(model);
const { classes, accuracy } = model.metadata;
const [answer, hint, paper, undo, clear, bars, seen, layers, maps] = [
  "answer", "hint", "paper", "undo", "clear", "bars", "seen", "layers", "maps",
].map((id) => document.getElementById(id));
const pen = paper.getContext("2d");
const START = { answer: "Draw a digit", hint: "In the box, with a mouse, pen or finger." };
const NOTHING = { answer: "", hint: "" };
let strokes = []; // lists of points [x, y] in canvas pixels
let pointer = null; // that draws: a palm beside a pen does not

const rows = classes.map((name) => {
  const row = document.createElement("li");
  row.innerHTML = '<span class="name"></span><span class="bar"></span><span class="percent"></span>';
  row.firstChild.textContent = name;
  bars.append(row);
  return row;
});
bars.style.setProperty("--name", `${Math.max(...classes.map((name) => name.length))}ch`);
const measured = `, which reads ${(100 * accuracy).toFixed(2)} % of ${model.metadata.measured_on} correctly`;
document.getElementById("about").textContent =
  `A network with ${model.metadata.num_parameters.toLocaleString("en")} parameters${accuracy ? measured : ""}. ` +
  `It sees one view of the drawing. Made with mnist_lightning ${model.metadata.mnist_lightning}.`;

function verdict(probabilities) {
  const [first, second] = probabilities.map((_, i) => i).sort((i, j) => probabilities[j] - probabilities[i]);
  return probabilities[first] < model.sure_probability
    ? `Not sure: ${classes[first]} or ${classes[second]}`
    : `Looks like ${classes[first]}`;
}

function update() {
  drawStrokes(pen, strokes, PEN_WIDTH);
  undo.disabled = clear.disabled = strokes.length === 0;
  const found = strokes.length === 0 ? { problem: START } : prepare(strokes), { pixels } = found;
  const problem = pointer === null ? found.problem : NOTHING; // a stroke begins as a dot
  const { logits, outputs } = runNetwork(network, pixels || new Uint8Array(28 * 28));
  const probabilities = pixels ? softmax(logits) : null;
  const text = pixels ? verdict(probabilities) : problem.answer;
  if (answer.textContent !== text) answer.textContent = text; // a screen reader says it again each time it is set
  hint.textContent = pixels ? "" : problem.hint;
  rows.forEach((row, i) => {
    const share = probabilities ? probabilities[i] : 0;
    row.classList.toggle("best", share > 0 && share === Math.max(...probabilities));
    row.style.setProperty("--share", share);
    row.lastChild.textContent = probabilities ? `${(100 * share).toFixed(1)} %` : "";
  });
  drawPlanes(seen, { channels: 1, side: 28, values: pixels || new Uint8Array(28 * 28) }, 0, 255);
  if (layers.open) drawLayers(outputs);
}

// Draws the channels of a layer side by side in a canvas, from black to white.
function drawPlanes(canvas, { channels, side, values }, low, high) {
  const columns = Math.min(channels, 10), step = side + (channels > 1 ? 1 : 0);
  [canvas.width, canvas.height] = [columns * step, Math.ceil(channels / columns) * step];
  const image = new ImageData(canvas.width, canvas.height);
  values.forEach((value, i) => {
    const channel = Math.floor(i / (side * side)), y = Math.floor(i / side) % side, x = i % side;
    const to = (Math.floor(channel / columns) * step + y) * canvas.width + (channel % columns) * step + x;
    image.data.fill((255 * (value - low)) / (high - low || 1), 4 * to, 4 * to + 3);
    image.data[4 * to + 3] = 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function drawLayers(outputs) {
  const shown = outputs.filter(({ side }, i) => side > 1 && (outputs[i + 1] || {}).kind !== "relu");
  maps.replaceChildren(...shown.map((output) => {
    const { kind, channels, side, values } = output, figure = document.createElement("figure");
    const name = kind === "relu" ? "convolution, ReLU" : kind.replace("_", " ");
    figure.innerHTML = `<figcaption>${name}: ${channels} × ${side}×${side}</figcaption><canvas></canvas>`;
    const [low, high] = [Math.min, Math.max].map((most) => values.reduce((one, other) => most(one, other)));
    drawPlanes(figure.lastChild, output, low, high);
    return figure;
  }));
}

let isScheduled = false;
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    update();
  });
}

function addPoint(event) {
  const box = paper.getBoundingClientRect(), scale = paper.width / paper.clientWidth;
  strokes[strokes.length - 1].push([
    (event.clientX - box.left - paper.clientLeft) * scale,
    (event.clientY - box.top - paper.clientTop) * scale,
  ]);
  schedule();
}

paper.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  pointer = event.pointerId;
  paper.setPointerCapture(pointer);
  strokes.push([]);
  addPoint(event);
});
paper.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const each of events.length > 0 ? events : [event]) addPoint(each);
});
paper.addEventListener("lostpointercapture", () => {
  pointer = null;
  schedule();
});

function change(newStrokes) {
  if (pointer !== null) return;
  strokes = newStrokes;
  update();
}
undo.addEventListener("click", () => change(strokes.slice(0, -1)));
clear.addEventListener("click", () => change([]));
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    change(strokes.slice(0, -1));
  } else if (event.key === "Escape") {
    change([]);
  }
});
layers.addEventListener("toggle", update);
update();
