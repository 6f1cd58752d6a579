// Pictures: the drawing area, files that are opened, dropped or pasted, the camera, and some example drawings.

const pad = document.getElementById("pad");
const context = pad.getContext("2d");
const SIZE = pad.width;
const LARGEST = 2048; // pixels along an edge; larger pictures are made smaller before they are sent

let file = null; // what is sent in place of the drawing
let isDrawn = false;

/** Shapes in a square of 100, as lists of corners: garments like those that the models know. */
const DRAWINGS = {
  "Ankle boot": ["52,12 92,12 93,36 97,60 97,92 72,92 72,86 4,86 4,74 12,66 32,60 48,44"],
  Trouser: ["34,8 66,8 70,92 54,92 50,36 46,92 30,92"],
  Bag: ["14,40 86,40 90,88 10,88", "30,40 34,16 66,16 70,40 63,40 60,23 40,23 37,40"],
  "T-shirt": ["34,14 44,20 56,20 66,14 92,28 82,46 70,40 70,90 30,90 30,40 18,46 8,28"],
  Dress: ["40,8 60,8 58,36 76,92 24,92 42,36"],
};

function paint(canvas, corners) {
  const drawing = canvas.getContext("2d");
  const scale = canvas.width / 100;
  drawing.fillStyle = "#000";
  drawing.fillRect(0, 0, canvas.width, canvas.height);
  drawing.fillStyle = "#ddd";
  for (const shape of corners) {
    const path = new Path2D();
    for (const corner of shape.split(" ")) path.lineTo(...corner.split(",").map((number) => number * scale));
    path.closePath();
    drawing.fill(path);
  }
}

/** Empty the drawing area. */
export function clear() {
  context.fillStyle = "#000";
  context.fillRect(0, 0, SIZE, SIZE);
  file = null;
  isDrawn = false;
}

/** What is to be sent: a Blob with its type; null if nothing was drawn. */
export async function picture() {
  if (file) return file;
  return isDrawn ? new Promise((resolve) => pad.toBlob(resolve, "image/png")) : null;
}

/** Show a file in the drawing area, and send it in place of the drawing. */
export async function open(blob) {
  const bitmap = await createImageBitmap(blob);
  clear();
  const scale = Math.min(SIZE / bitmap.width, SIZE / bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.drawImage(bitmap, (SIZE - width) / 2, (SIZE - height) / 2, width, height);
  file = Math.max(bitmap.width, bitmap.height) > LARGEST ? await smaller(bitmap) : blob;
}

async function smaller(bitmap) {
  const scale = LARGEST / Math.max(bitmap.width, bitmap.height);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

function place(event) {
  const box = pad.getBoundingClientRect();
  return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height];
}

function draw(changed) {
  let last = null;
  pad.addEventListener("pointerdown", (event) => {
    if (file) clear();
    pad.setPointerCapture(event.pointerId);
    last = place(event);
    isDrawn = true;
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = place(event);
    Object.assign(context, { strokeStyle: "#ddd", lineWidth: 22, lineCap: "round", lineJoin: "round" });
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...next);
    context.stroke();
    last = next;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    pad.addEventListener(end, () => { if (last) { last = null; changed(); } });
  }
}

function receive(given) {
  const found = [...(given?.files ?? [])].find((each) => each.type.startsWith("image/"));
  return found ?? null;
}

/**
 * Make everything work.
 * @param {() => void} changed is called when there is a new picture.
 * @param {(error: Error) => void} failed is called with what went wrong.
 */
export function start(changed, failed) {
  const use = (blob) => open(blob).then(changed, () => failed(new Error("The browser cannot read this picture.")));
  clear();
  draw(changed);
  document.getElementById("clear").addEventListener("click", clear);
  document.getElementById("file").addEventListener("change", (event) => {
    const [chosen] = event.target.files;
    if (chosen) use(chosen);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const pasted = receive(event.clipboardData);
    if (pasted) use(pasted);
  });
  pad.addEventListener("dragover", (event) => { event.preventDefault(); pad.classList.add("over"); });
  pad.addEventListener("dragleave", () => pad.classList.remove("over"));
  pad.addEventListener("drop", (event) => {
    event.preventDefault();
    pad.classList.remove("over");
    const dropped = receive(event.dataTransfer);
    if (dropped) use(dropped);
    else failed(new Error("This is not a picture."));
  });
  const gallery = document.getElementById("gallery");
  for (const [name, corners] of Object.entries(DRAWINGS)) {
    const [button, canvas] = [document.createElement("button"), document.createElement("canvas")];
    [canvas.width, canvas.height] = [112, 112];
    Object.assign(button, { type: "button", title: name });
    button.setAttribute("aria-label", `Example: ${name}`);
    paint(canvas, corners);
    button.append(canvas);
    button.addEventListener("click", () => {
      clear();
      paint(pad, corners);
      isDrawn = true;
      changed();
    });
    gallery.append(button);
  }
  camera(changed, failed);
}

function camera(changed, failed) {
  const button = document.getElementById("camera");
  const video = document.getElementById("video");
  let stream = null;
  const stop = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.hidden = true;
    button.textContent = "Camera";
  };
  button.addEventListener("click", async () => {
    if (stream) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => { stop(); open(blob).then(changed, failed); }, "image/jpeg", 0.92);
      return;
    }
    try {
      if (!navigator.mediaDevices) throw new Error("insecure");
      stream = await navigator.mediaDevices.getUserMedia({ video: true });
      video.srcObject = stream;
      video.hidden = false;
      await video.play();
      button.textContent = "Take the picture";
    } catch {
      stop();
      failed(new Error("There is no camera, or the page may not use it; browsers allow it on localhost and with TLS."));
    }
  });
}
