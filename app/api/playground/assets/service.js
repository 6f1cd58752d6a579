// Calls of the service. Addresses are relative to the page, so that a path prefix of a proxy does not matter.

const byId = (id) => document.getElementById(id);

/** A path as an absolute address. */
export const address = (path) => new URL(path, document.baseURI).href;

/** The path of a version's inference route, for example v1/models/NAME/versions/2:classify. */
export const route = (model, version, verb) =>
  `v1/models/${encodeURIComponent(model)}${version ? `/versions/${version}` : ""}:${verb}`;

/** An error whose message is the sentence that the service answered. */
export class Refused extends Error {}

/**
 * Send one request; the service's own sentence becomes the error.
 * @returns {Promise<Response>}
 */
export async function call(path, { method = "GET", headers = {}, body, admin = false, signal } = {}) {
  const key = byId(admin ? "admin" : "key").value.trim();
  const sent = key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
  let reply;
  try {
    reply = await fetch(address(path), { method, headers: sent, body, signal });
  } catch (error) {
    throw new Refused(error.name === "AbortError" ? "stopped" : "The service does not answer. Does it still run?");
  }
  if (!reply.ok) {
    const text = await reply.text();
    let sentence = text;
    try { sentence = JSON.parse(text).error ?? text; } catch { /* not JSON: shown as it is */ }
    throw new Refused(`${reply.status}: ${sentence || reply.statusText}`);
  }
  return reply;
}

/** A JSON document, in which numbers may also be NaN or infinite: those become texts. */
export const parsed = (text) => JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (found) =>
  found.startsWith('"') ? found : `"${found}"`));

/** Milliseconds of each stage, from the header Server-Timing: {queue: 0.1, compute: 0.5, ...}. */
export function stages(reply) {
  const found = {};
  for (const part of (reply.headers.get("server-timing") ?? "").split(",")) {
    const [, name, duration] = part.match(/(\w+);dur=([\d.]+)/) ?? [];
    if (name) found[name] = Number(duration);
  }
  return found;
}

/** The documents of server-sent events. */
export async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const complete = (rest + value).split(/\r?\n\r?\n/);
    rest = complete.pop();
    for (const event of complete) yield JSON.parse(event.replace(/^data:\s*/, ""));
  }
}

/** The whole text of a generate_stream, piece by piece: events {"text_output": ...}. */
export async function* pieces(reply) {
  for await (const document of events(reply)) {
    if (document.error) throw new Refused(document.error);
    yield document.text_output ?? "";
  }
}
