// The request of the page in other languages.

import { address, route } from "./service.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const json = (value) => JSON.stringify(value);
const KEY = "ATELIER_KEY";

/** The JSON body of a request to the route of a verb, from the JSON of each input. */
export const body = (verb, values) =>
  `{"${verb === "classify" ? "examples" : "instances"}": [{${values.map(([name, text]) => `${json(name)}: ${text}`).join(", ")}}]}`;

/**
 * The code of a request.
 * @param {"curl"|"python"|"javascript"|"triton"} language
 * @param {{model: string, version: string, kind: string, verb: string, text?: string, values?: [string, string][],
 *   inputs: object[], needsKey: boolean}} request
 */
export function code(language, request) {
  return { curl, python, javascript, triton }[language](request);
}

const url = (request) => address(route(request.model, request.version, request.verb));

function curl(request) {
  const key = request.needsKey ? ` -H "Authorization: Bearer $${KEY}"` : "";
  if (request.kind === "image") {
    return `curl --data-binary @picture.png -H 'Content-Type: image/png'${key} \\\n  ${quoted(url(request))}`;
  }
  if (request.kind === "text") {  // with -d, a text that begins with @ would be the name of a file
    return `curl --data-raw ${quoted(request.text)} -H 'Content-Type: text/plain'${key} \\\n  ${quoted(url(request))}`;
  }
  return `curl --data-raw ${quoted(body(request.verb, request.values))}${key} \\\n  ${quoted(url(request))}`;
}

function python(request) {
  const sent = {
    image: 'data=open("picture.png", "rb")',
    text: `data=${json(request.text ?? "")}.encode()`,
    tensors: `data=${json(request.kind === "tensors" ? body(request.verb, request.values) : "")}`,
  }[request.kind];
  const headers = [`"Content-Type": ${json(type(request))}`];
  if (request.needsKey) headers.push(`"Authorization": "Bearer " + os.environ["${KEY}"]`);
  return `${request.needsKey ? "import os\n" : ""}import requests\n\nreply = requests.post(\n    ${json(url(request))},\n    ${sent},\n` +
    `    headers={${headers.join(", ")}},\n)\nprint(reply.json())`;
}

const type = (request) => ({ image: "image/png", text: "text/plain", tensors: "application/json" })[request.kind];

/** A value in JSON as Python writes it. */
const pythonic = (text) => text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:true|false|null|NaN|Infinity)\b/g, (word) =>
  ({ true: "True", false: "False", null: "None", NaN: "np.nan", Infinity: "np.inf", "-Infinity": "-np.inf" })[word] ?? word);

function javascript(request) {
  const sent = {
    image: "file /* a File or Blob */",
    text: json(request.text ?? ""),
    tensors: json(request.kind === "tensors" ? body(request.verb, request.values) : ""),
  }[request.kind];
  const headers = [`"Content-Type": ${json(type(request))}`];
  if (request.needsKey) headers.push("Authorization: `Bearer ${key}`");
  return `const reply = await fetch(${json(url(request))}, {\n  method: "POST",\n` +
    `  headers: { ${headers.join(", ")} },\n  body: ${sent},\n});\nconsole.log(await reply.json());`;
}

function triton(request) {
  const { host } = new URL(document.baseURI);
  const more = [
    request.version ? `, model_version=${json(request.version)}` : "",
    request.needsKey ? `, headers={"Authorization": "Bearer " + os.environ["${KEY}"]}` : "",
  ].join("");
  const lines = [...(request.needsKey ? ["import os"] : []), "import numpy as np", "import tritonclient.http as http", "",
    `client = http.InferenceServerClient(${json(host)})`];
  const names = request.inputs.map((input, place) => {
    const value = {
      image: 'np.array([open("picture.png", "rb").read()], object)',
      text: `np.array([${json(request.text ?? "")}.encode()], object)`,
      tensors: `np.array([${pythonic(request.values?.[place]?.[1] ?? "0")}], ${
        json(input.dtype === "string" ? "object" : input.dtype)})`,
    }[request.kind];
    const datatype = request.kind === "tensors" ? input.datatype : "BYTES";
    lines.push(`x${place} = ${value}`);
    lines.push(`i${place} = http.InferInput(${json(input.name)}, x${place}.shape, ${json(datatype)})`);
    lines.push(`i${place}.set_data_from_numpy(x${place})`);
    return `i${place}`;
  });
  lines.push(`reply = client.infer(${json(request.model)}, [${names.join(", ")}]${more})`);
  lines.push('for output in reply.get_response()["outputs"]:', '    print(output["name"], reply.as_numpy(output["name"]))');
  return lines.join("\n");
}
