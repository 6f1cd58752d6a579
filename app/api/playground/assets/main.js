// The page: chooses a model, sends what the user gives, shows the answer.

import { block, difference, element } from "./answers.js";
import { explanation } from "./explain.js";
import * as live from "./live.js";
import * as pictures from "./pictures.js";
import { Refused, call, parsed, pieces, route, stages } from "./service.js";
import { body, code } from "./snippets.js";

const byId = (id) => document.getElementById(id);
const BURST = 200;
const EXAMPLES = { words: "A wonderful film, moving and funny from start to finish.", lines: "ROMEO:\nO, she" };

let models = [];
let language = "curl";
let asked = 0; // only the answer to the newest request is shown
let shown = null; // name of the model that the page shows

const chosen = () => models.find((model) => model.name === byId("model").value);

function fail(error) {
  byId("error").textContent = error.message;
  byId("error").hidden = false;
}

function options(select, entries, kept) {
  select.replaceChildren(...entries.map(([value, text]) => element("option", { value }, text)));
  if (entries.some(([value]) => value === kept)) select.value = kept;
}

function versionEntries(model, first) {
  const ready = model.versions.filter((each) => each.state === "READY");
  return [first, ...ready.map((each) => [String(each.version), [each.version, ...each.labels].join(", ")])];
}

async function refresh() {
  const now = await (await call("playground/models")).json();
  const same = JSON.stringify(now.models) === JSON.stringify(models);
  models = now.models;
  if (!same) show();
  await rollout(chosen());
}

function show() {
  options(byId("model"), models.map(({ name }) => [name, name]), byId("model").value);
  const model = chosen();
  if (!model) {
    byId("about").textContent = "There are no models in the models directory.";
    return;
  }
  options(byId("version"), versionEntries(model, ["", `default${model.serving ? ` (${model.serving})` : ""}`]), byId("version").value);
  options(byId("other"), versionEntries(model, ["", "no other version"]), byId("other").value);
  byId("about").textContent = [model.description, model.verified].filter(Boolean).join(" ");
  byId("image").hidden = model.kind !== "image";
  byId("text").hidden = model.kind !== "text";
  byId("continuing").hidden = !model.continues;
  byId("fields").hidden = model.kind !== "tensors";
  byId("explaining").hidden = !model.explains;
  byId("gradients").hidden = !model.gradients;
  if (!model.gradients && byId("method").value === "gradients") byId("method").value = "occlusion";
  byId("gallery").hidden = model.inputs[0]?.shape.length !== 2; // the drawings are grey
  if (shown !== model.name) {
    shown = model.name;
    form(model);
    byId("words").value = EXAMPLES[model.scheme] ?? "";
    byId("written").hidden = true;
  }
  table(model);
  snippet();
}

function form(model) {
  byId("fields").replaceChildren();
  if (model.kind !== "tensors") return;
  for (const input of model.inputs) {
    const sizes = input.shape.map((each) => (each < 0 ? 1 : each));
    const empty = sizes.reduceRight((inner, count) => Array(count).fill(inner), input.dtype === "string" ? "" : 0);
    const field = element("textarea", { rows: "2", name: input.name });
    field.value = JSON.stringify(empty);
    const bounds = input.minimum === null && input.maximum === null ? "" : `, ${input.minimum ?? "…"} to ${input.maximum ?? "…"}`;
    const size = input.shape.length ? ` [${input.shape}]` : "";
    byId("fields").append(element("label", {}, `${input.name} (${input.dtype}${size}${bounds})`, field));
  }
}

/** What is to be sent to the route of a verb, as the arguments of call; raises Refused with what is missing. */
async function request(model, toVerb = verb(model)) {
  if (model.kind === "image") {
    const picture = await pictures.picture();
    if (!picture) throw new Refused("Draw something first, or choose a picture.");
    return { method: "POST", headers: { "Content-Type": picture.type || "image/png" }, body: picture };
  }
  if (model.kind === "text") {
    if (!byId("words").value.trim()) throw new Refused("Write a text first.");
    return { method: "POST", headers: { "Content-Type": "text/plain" }, body: byId("words").value };
  }
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: body(toVerb, values(model)) };
}

/** Of each input, its name and what is written in its field: JSON, which is sent as it is, so that no digit is lost. */
function values(model) {
  return model.inputs.map((input) => {
    const text = byId("fields").elements[input.name].value.trim();
    try {
      parsed(text);
    } catch {
      throw new Refused(`${input.name}: ${text.slice(0, 40)} is not JSON; write numbers as 1.5, a missing number as NaN, lists as [1, 2], texts in quotes`);
    }
    return [input.name, text];
  });
}

const verb = (model) => (model.classes || model.continues ? "classify" : "predict");

async function ask(model, version, sent) {
  const began = performance.now();
  const reply = await call(route(model.name, version, verb(model)), sent);
  const document = parsed(await reply.text());
  const title = version ? `Version ${version}` : "Default version";
  const answer = { title, stages: stages(reply), total: performance.now() - began };
  return document.results ? { ...answer, results: document.results[0] } : { ...answer, output: document.predictions };
}

async function send() {
  const model = chosen();
  const mine = ++asked;
  byId("error").hidden = true;
  snippet();
  try {
    const sent = await request(model);
    const versions = [byId("version").value, ...(byId("other").value ? [byId("other").value] : [])];
    const answers = await Promise.all(versions.map((version) => ask(model, version, sent)));
    if (mine !== asked) return;
    byId("answers").replaceChildren(...answers.map((answer, place) => block(answer, place > 0)));
    if (answers.length > 1) byId("answers").append(element("p", { class: "quiet" }, difference(...answers)));
  } catch (error) {
    if (mine === asked) { byId("answers").replaceChildren(); fail(error); }
  }
}

async function why() {
  const mine = ++asked;
  byId("error").hidden = true;
  byId("why").disabled = true;
  try {
    const sent = await request(chosen(), "explain");
    const made = await explanation(chosen(), byId("version").value, sent, byId("method").value);
    if (mine === asked) byId("answers").replaceChildren(made);
  } catch (error) {
    if (mine === asked) { byId("answers").replaceChildren(); fail(error); }
  } finally {
    byId("why").disabled = false;
  }
}

async function write() {
  const model = chosen();
  byId("error").hidden = true;
  byId("write").disabled = true;
  byId("written").hidden = false;
  byId("written").textContent = byId("words").value;
  const body = JSON.stringify({
    text_input: byId("words").value,
    max_tokens: Number(byId("tokens").value),
    temperature: Number(byId("temperature").value),
  });
  try {
    const path = `v2/models/${encodeURIComponent(model.name)}${byId("version").value ? `/versions/${byId("version").value}` : ""}/generate_stream`;
    const reply = await call(path, { method: "POST", body });
    for await (const piece of pieces(reply)) byId("written").textContent += piece;
  } catch (error) {
    fail(error);
  } finally {
    byId("write").disabled = false;
  }
}

async function burst() {
  const model = chosen();
  byId("error").hidden = true;
  byId("burst").disabled = true;
  try {
    const sent = await request(model);
    const path = route(model.name, byId("version").value, verb(model));
    const began = performance.now();
    const replies = await Promise.all(Array.from({ length: BURST }, () => call(path, sent).then(stages)));
    const seconds = (performance.now() - began) / 1000;
    const queue = replies.reduce((sum, each) => sum + (each.queue ?? 0), 0) / BURST;
    byId("answers").replaceChildren(element("p", {}, `${BURST} answers in ${seconds.toFixed(2)} s, ` +
      `${(BURST / seconds).toFixed(0)} a second; each waited ${queue.toFixed(1)} ms for its batch. The browser opens six connections.`));
  } catch (error) {
    fail(error);
  } finally {
    byId("burst").disabled = false;
  }
}

function snippet() {
  const model = chosen();
  if (!model) return;
  const { name, kind, inputs } = model;
  const about = { model: name, version: byId("version").value, kind, verb: verb(model), inputs, text: byId("words").value, needsKey: Boolean(byId("key").value) };
  try {
    byId("code").textContent = code(language, kind === "tensors" ? { ...about, values: values(model) } : about);
  } catch (error) {
    byId("code").textContent = error.message;
  }
}

function table(model) {
  byId("card").hidden = true;
  byId("versions").tBodies[0].replaceChildren(...model.versions.map((each) => {
    const button = (text, action, off) => {
      const made = element("button", { type: "button", "aria-label": `${text} version ${each.version}` }, text);
      made.disabled = off;
      made.addEventListener("click", action);
      return made;
    };
    const promote = button("Promote", () => change("promote", { version: each.version }), each.version === model.serving);
    const card = button("Card of", () => showCard(model.name, each.version), !each.has_card);
    card.textContent = "Card";
    const cells = [each.version, each.reason ? `${each.state}: ${each.reason}` : each.state, each.labels.join(", "), each.measured, each.verified];
    return element("tr", {}, ...cells.map((text) => element("td", {}, String(text))), element("td", {}, card, " ", promote));
  }));
}

async function showCard(name, version) {
  try {
    byId("card").textContent = await (await call(`playground/models/${encodeURIComponent(name)}/versions/${version}/card`)).text();
    byId("card").hidden = false;
    byId("card").focus();
  } catch (error) {
    fail(error);
  }
}

/** How the canary compares with the stable version, in words. */
async function rollout(model) {
  byId("rollout").hidden = !model?.canary;
  if (!model?.canary) return;
  const found = await (await call(`v2/models/${encodeURIComponent(model.name)}/shadow`)).json();
  const { requests, instances, compute_ms: took } = found;
  const agreement = instances.compared
    ? `${(100 * instances.agreed / instances.compared).toFixed(1)} % of ${instances.compared} compared answers agree; ` +
      `computing takes ${took.canary.toFixed(2)} ms, and ${took.stable.toFixed(2)} ms in version ${found.stable}.`
    : "No answers have been compared yet.";
  byId("rollout").textContent = `Canary ${found.canary} beside ${found.stable}${found.reason ? ` is halted: ${found.reason}` : ""}: ` +
    `it gets ${found.canary_percent} % of the requests, and copies of ${found.shadow_percent} %. ` +
    `${requests.count} requests, ${requests.errors} errors. ${agreement}`;
}

async function change(what, document) {
  byId("error").hidden = true;
  const model = chosen();
  try {
    const path = `v2/repository/models/${encodeURIComponent(model.name)}/${what}`;
    const done = await (await call(path, { method: "POST", body: JSON.stringify(document), admin: true })).json();
    byId("done").textContent = `Version ${done.version ?? done.serving ?? document.version} of ${model.name} is the default now.`;
    await refresh();
  } catch (error) {
    fail(error);
  }
}

function chooseLanguage(button) {
  language = button.dataset.language;
  for (const each of document.querySelectorAll("[data-language]")) each.setAttribute("aria-pressed", String(each === button));
  snippet();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("code").textContent);
    byId("copy").textContent = "Copied";
    setTimeout(() => { byId("copy").textContent = "Copy"; }, 1500);
  } catch {
    fail(new Error("The browser does not let the page copy; select the text."));
  }
}

function start() {
  pictures.start(send, fail);
  byId("model").addEventListener("change", () => { asked += 1; byId("answers").replaceChildren(); show(); });
  for (const id of ["version", "other", "words", "key"]) byId(id).addEventListener("input", snippet);
  byId("fields").addEventListener("input", snippet);
  document.addEventListener("submit", (event) => event.preventDefault());
  for (const [id, action] of Object.entries({ send, why, write, burst, copy })) byId(id).addEventListener("click", action);
  byId("rollback").addEventListener("click", () => change("rollback", {}));
  for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => chooseLanguage(button));
  const again = () => refresh().catch(fail).finally(() => setTimeout(again, 5000));
  again();
  live.start();
}

start();
