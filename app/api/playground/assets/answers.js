// Answers: bars of classes, outputs as text, the time of each stage.

/** An element with text, attributes and children. */
export function element(name, attributes = {}, ...children) {
  const space = ["svg", "rect", "polyline"].includes(name) ? "http://www.w3.org/2000/svg" : null;
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function bar(label, share) {
  const width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  const track = element("svg", { "aria-hidden": "true" }, element("rect", { class: "fill", width, height: "100%" }));
  return element(
    "div", { class: "bar" },
    element("span", {}, label), element("div", { class: "track" }, track),
    element("span", {}, `${(share * 100).toFixed(1)} %`),
  );
}

function shown(value) {
  const text = JSON.stringify(value, null, 1);
  return text.length > 2000 ? `${text.slice(0, 2000)} … (${text.length} characters in all)` : text;
}

function times(stages, total) {
  const parts = ["decode", "queue", "compute", "encode"].filter((name) => name in stages)
    .map((name) => `${name} ${stages[name].toFixed(2)}`);
  return `${parts.join(", ")}; in the browser ${total.toFixed(1)} ms`;
}

/**
 * One answer as a block of the page.
 * @param {{title: string, results?: [string, number][], output?: any, stages: object, total: number}} answer
 */
export function block({ title, results, output, stages, total }, second = false) {
  const made = element("div", second ? { class: "second" } : {}, element("h3", {}, title));
  if (results) made.append(...results.map(([label, share]) => bar(label, share)));
  else made.append(element("pre", { tabindex: "0" }, shown(output)));
  made.append(element("p", { class: "quiet" }, times(stages, total)));
  return made;
}

/** The largest differences between the classes of two answers, in words. */
export function difference(one, other) {
  if (!one.results || !other.results) return "";
  const [best, second] = [one.results[0], other.results[0]];
  return best[0] === second[0]
    ? `Both say ${best[0]}; their certainty differs by ${(Math.abs(best[1] - second[1]) * 100).toFixed(2)} points.`
    : `They differ: ${one.title} says ${best[0]}, ${other.title} says ${second[0]}.`;
}
