// Sends the drawing to the server as a PNG during each stroke, and shows the reply as ten bars and the network's 28×28
// input.
const paper = element.querySelector(".paper");
const pen = paper.getContext("2d");
const answer = element.querySelector(".answer");
const prepared = element.querySelector(".prepared").getContext("2d");
const PEN_WIDTH = 20; // of 280 pixels, in proportion to MNIST's strokes

const bars = Array.from({ length: 10 }, (_, digit) => {
  const row = document.createElement("li");
  row.innerHTML = `<span>${digit}</span><meter min="0" max="1" value="0" aria-label="${digit}"></meter><output></output>`;
  element.querySelector(".bars").append(row);
  return row;
});

function clear() {
  pen.fillStyle = "white";
  pen.fillRect(0, 0, paper.width, paper.height);
  show({ message: " " });
}

function show({ message, probabilities, pixels }) {
  answer.textContent = message;
  const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  bars.forEach((row, digit) => {
    row.classList.toggle("best", digit === best);
    row.querySelector("meter").value = probabilities ? probabilities[digit] : 0;
    row.querySelector("output").value = probabilities ? `${(100 * probabilities[digit]).toFixed(1)} %` : "";
  });
  const image = prepared.createImageData(28, 28);
  for (let i = 0; i < 28 * 28; i++) {
    image.data.fill(pixels ? pixels[i] : 0, 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  prepared.putImageData(image, 0, 0);
}

// One request at a time: the next request includes all strokes since the last one. Replies to a cleared drawing are
// dropped.
let isWaiting = false;
let hasChanged = false;
let drawing = 0;
async function update() {
  hasChanged = true;
  if (isWaiting) return;
  isWaiting = true;
  while (hasChanged) {
    hasChanged = false;
    const requested = drawing;
    let reply;
    try {
      reply = await server.read_drawing(paper.toDataURL("image/png"));
    } catch {
      reply = { message: "The server does not respond." };
    }
    if (requested === drawing) show(reply);
  }
  isWaiting = false;
}

function position(event) {
  const box = paper.getBoundingClientRect();
  const scale = paper.width / paper.clientWidth;
  return [(event.clientX - box.left - paper.clientLeft) * scale, (event.clientY - box.top - paper.clientTop) * scale];
}

let last = null;
function stroke(event) {
  const [x, y] = position(event);
  pen.lineWidth = PEN_WIDTH;
  pen.lineCap = "round";
  pen.strokeStyle = "black";
  pen.beginPath();
  pen.moveTo(...(last ?? [x, y]));
  pen.lineTo(x, y);
  pen.stroke();
  last = [x, y];
  update();
}
paper.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  paper.setPointerCapture(event.pointerId);
  last = null;
  stroke(event);
});
paper.addEventListener("pointermove", (event) => {
  if (event.isPrimary && last) stroke(event);
});
for (const end of ["pointerup", "pointercancel"]) paper.addEventListener(end, () => (last = null));
element.querySelector(".clear").addEventListener("click", () => {
  drawing += 1;
  clear();
});
clear();
