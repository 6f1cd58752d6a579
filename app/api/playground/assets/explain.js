// Explanations: a heat map over what the model saw, coloured words, or bars of columns; and all of it in numbers.

import { element } from "./answers.js";
import { call, route } from "./service.js";

const LEVELS = 4;
const MOST_SHOWN = 20;
const MOST_NAMED = 4;
const signed = (score) => `${score < 0 ? "−" : "+"}${Math.abs(score).toFixed(3)}`;

/** The class of a colour: for-1 to for-4, or against-1 to against-4; nothing for scores near 0. */
function colour(score, largest) {
  const level = Math.round((LEVELS * Math.abs(score)) / (largest || 1));
  return level ? `${score > 0 ? "for" : "against"}-${level}` : "";
}

function name(part) {
  if ("text" in part) return part.unknown ? `${part.text} (unknown)` : part.text;
  if ("name" in part) return `${part.name} = ${JSON.stringify(part.value)}`;
  return `rows ${part.top} to ${part.top + part.height - 1}, columns ${part.left} to ${part.left + part.width - 1}`;
}

function numbers(parts, isOpen) {
  const sorted = [...parts].sort((one, other) => Math.abs(other.score) - Math.abs(one.score));
  const rows = sorted.slice(0, MOST_SHOWN).map((part) =>
    element("tr", {}, element("td", {}, name(part)), element("td", {}, signed(part.score))));
  const head = element("tr", {}, element("th", { scope: "col" }, "Part"), element("th", { scope: "col" }, "Score"));
  return element("details", isOpen ? { open: "" } : {}, element("summary", {}, parts.length > MOST_SHOWN ? `Scores, ${MOST_SHOWN} of ${parts.length}` : "Scores"),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

async function heatMap(blob, label) {
  const bitmap = await createImageBitmap(blob);
  const canvas = element("canvas", { class: "heat", width: bitmap.width, height: bitmap.height, role: "img", "aria-label": label });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas;
}

/** The picture as the model gets it: smaller, perhaps grey, perhaps inverted. */
function seen({ width, height, pixels }) {
  const bytes = Uint8Array.from(atob(pixels), (each) => each.charCodeAt(0));
  const channels = bytes.length / (width * height);
  const shown = new ImageData(width, height);
  shown.data.forEach((_, place) => {
    const [pixel, channel] = [Math.floor(place / 4), place % 4];
    shown.data[place] = channel === 3 ? 255 : bytes[pixel * channels + Math.min(channel, channels - 1)];
  });
  const label = `The picture as the model gets it, ${width} by ${height} pixels${channels === 1 ? ", grey" : ""}`;
  const canvas = element("canvas", { class: "seen", width, height, role: "img", "aria-label": label });
  canvas.getContext("2d").putImageData(shown, 0, 0);
  return element("figure", {}, canvas, element("figcaption", { class: "quiet" }, label));
}

function words(tokens, largest) {
  const shown = tokens.flatMap((token) => [
    element("span", { class: `${colour(token.score, largest)}${token.unknown ? " unknown" : ""}` }, token.text), " "]);
  return element("p", { class: "words" }, ...shown);
}

function summary({ class: target, value, baseline_value: baseline, baseline: hidden, flip, columns }, parts) {
  const [plus, minus] = columns ? ["Scores above 0", "those below"] : ["Orange parts", "blue ones"];
  const shown = (number) => (target ? `${(100 * number).toFixed(1)} %` : Number(number).toPrecision(4));
  const what = target
    ? `${plus} speak for ${target.label} (${shown(value)}), ${minus} against it.`
    : `${plus} raise the answer, ${shown(value)}, ${minus} lower it.`;
  return `${what} With everything hidden it is ${shown(baseline)}. A hidden part is replaced by ${hidden}.${turned(flip, parts)}`;
}

function turned(flip, parts) {
  if (!flip) return "";
  const names = flip.parts.length > MOST_NAMED
    ? `the ${flip.parts.length} parts with the highest scores`
    : flip.parts.map((place) => `“${name(parts[place])}”`).join(" and ");
  return ` Without ${names} it would be ${flip.class.label}.`;
}

/**
 * Why a model answers as it does, as a block of the page.
 * @param {{name: string, kind: string}} model
 * @param {object} sent - the request, as for its answer
 */
export async function explanation(model, version, sent, method) {
  const path = `${route(model.name, version, "explain")}?method=${method}`;
  const [document, picture] = await Promise.all([
    call(path, sent).then((reply) => reply.json()),
    model.kind === "image" ? call(path, { ...sent, headers: { ...sent.headers, Accept: "image/png" } }).then((reply) => reply.blob()) : null,
  ]);
  const found = document.explanations[0];
  const parts = [...(found.regions ?? []), ...(found.tokens ?? []), ...(found.columns ?? [])];
  const largest = Math.max(...parts.map((part) => Math.abs(part.score)));
  const made = element("div", {}, element("h3", {}, "Why"));
  const said = summary(found, parts);
  if (picture) made.append(await heatMap(picture, `Heat map. ${said}`));
  if (found.pixels) made.append(seen(found));
  if (found.tokens) made.append(words(found.tokens, largest));
  made.append(element("p", { class: "quiet" }, said), numbers(parts, Boolean(found.columns)));
  return made;
}
