// What the service does right now: the difference between two events of its feed, as numbers and small curves.

import { element } from "./answers.js";
import { call, events } from "./service.js";

const KEPT = 60;
const AGAIN_MS = 2000;

const FIGURES = {
  "Requests a second": (change) => change.requests / change.seconds,
  "p50, ms": (change) => quantile(change.buckets, 0.5),
  "p99, ms": (change) => quantile(change.buckets, 0.99),
  "Rows in a batch": (change) => (change.batches ? change.rows / change.batches : 0),
  "Waiting now": (change) => change.queued,
  "Failed a second": (change) => change.failed / change.seconds,
};

/** Milliseconds that a share of the requests took at most; linear within a bucket. */
function quantile(buckets, share) {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (!total) return 0;
  let [below, counted] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= share * total && bound !== null) {
      return 1000 * (below + ((bound - below) * (share * total - counted)) / (count - counted));
    }
    [below, counted] = [bound ?? below, count];
  }
  return 1000 * below;
}

/** Sums over all versions. */
function sums({ at, versions }) {
  const found = { seconds: at, requests: 0, failed: 0, rows: 0, batches: 0, buckets: [], reasons: {} };
  for (const each of versions) {
    for (const name of ["requests", "failed", "rows", "batches"]) found[name] += each[name];
    for (const [place, [bound, count]] of each.buckets.entries()) {
      found.buckets[place] = [bound, (found.buckets[place]?.[1] ?? 0) + count];
    }
    for (const [reason, count] of Object.entries(each.reasons)) found.reasons[reason] = (found.reasons[reason] ?? 0) + count;
  }
  return found;
}

function between(before, now, queued) {
  const less = (name) => Math.max(0, now[name] - before[name]);
  return {
    queued,
    ...Object.fromEntries(["seconds", "requests", "failed", "rows", "batches"].map((name) => [name, less(name)])),
    buckets: now.buckets.map(([bound, count], place) => [bound, Math.max(0, count - (before.buckets[place]?.[1] ?? 0))]),
    reasons: Object.entries(now.reasons).map(([reason, count]) => [reason, count - (before.reasons[reason] ?? 0)]),
  };
}

function curve(values) {
  const top = Math.max(...values, 1e-9);
  const points = values.map((value, place) => `${(place * 100) / (KEPT - 1)},${29 - (value / top) * 28}`).join(" ");
  const attributes = { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" };
  return element("svg", attributes, element("polyline", { points }));
}

function words(change, versions) {
  const closed = change.reasons.filter(([, count]) => count > 0).map(([reason, count]) => `${reason} ${count}`).join(", ");
  const drifting = versions.filter(({ drift }) => drift > 0.25).map(({ model, drift }) => `${model} ${drift.toFixed(2)}`);
  const places = [...new Set(versions.flatMap(({ devices }) => devices))].join(", ");
  return [closed ? `Batches closed: ${closed}.` : "", places ? `Devices: ${places}.` : "",
    drifting.length ? `Inputs unlike the training data: ${drifting.join(", ")}.` : ""].filter(Boolean).join(" ");
}

const written = (name, value) => (name.endsWith("ms") ? (value ? value.toFixed(2) : "–") : value.toFixed(1));

/** Show the feed, while the page is visible. */
export function start() {
  const panel = document.getElementById("live");
  const kept = Object.fromEntries(Object.keys(FIGURES).map((name) => [name, []]));
  let before = null;

  function show(said) {
    panel.replaceChildren(...Object.entries(kept).map(([name, values]) => element(
      "div", {}, element("div", { class: "quiet" }, name),
      element("div", { class: "figure" }, written(name, values.at(-1) ?? 0)),
      curve(values),
    )), element("p", { class: "quiet said" }, said));
  }

  function take(event) {
    const now = sums(event);
    const change = before && between(before, now, event.versions.reduce((sum, each) => sum + each.queued, 0));
    before = now;
    if (!change) return;
    for (const [name, figure] of Object.entries(FIGURES)) {
      kept[name].push(figure(change));
      kept[name].splice(0, kept[name].length - KEPT);
    }
    show(words(change, event.versions));
  }

  async function listen() {
    if (document.hidden) return;
    const stop = new AbortController();
    const hide = () => { if (document.hidden) stop.abort(); };
    document.addEventListener("visibilitychange", hide);
    try {
      for await (const event of events(await call("playground/live", { signal: stop.signal }))) take(event);
    } catch (error) {
      if (!stop.signal.aborted) panel.replaceChildren(element("p", { class: "quiet" }, error.message));
    } finally {
      document.removeEventListener("visibilitychange", hide);
      before = null;
    }
  }

  const again = () => listen().finally(() => setTimeout(again, AGAIN_MS));
  show("");
  again();
}
