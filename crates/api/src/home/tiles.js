// The tiles: how the server is, asked for every two seconds while somebody can see them.
(() => {
  "use strict";
  const [EVERY_MS, WINDOW_S, POINTS] = [2000, 10, 60];
  const NONE = "–";
  const node = (id, part) => document.querySelector(`#${id} ${part}`);
  // Whether a question is on its way, or a timer for the next one.
  let running = false;
  // Snapshots of the last seconds, and what the small plots show.
  let [snapshots, rates, tails] = [[], [], []];
  // The metrics may want a key. Where the key that there is does not help, they are not asked for with it again.
  let [guarded, hopeless, notBefore] = [false, null, 0];

  // Writes only what is new, so that screen readers stay silent about the rest.
  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tile(id, value, small) {
    write(node(id, "b"), value ?? NONE);
    if (small !== undefined) write(node(id, "small"), small);
  }

  const note = (text) => write(document.getElementById("note"), text);
  const ask = (path, headers) =>
    fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(5000) });

  async function readiness() {
    const answer = await ask("health/ready", {});
    const { ready, state } = await answer.json();
    document.getElementById("ready").dataset.is = ready ? "yes" : "no";
    const why = { starting: "models are loading", recovering: "the device is being replaced", draining: "the server is shutting down",
      failed: "see the log for the reason" };
    tile("ready", ready ? "Ready" : `Not ready: ${state}`, ready ? "takes requests" : (why[state] ?? ""));
  }

  function seconds(value, most) {
    if (value === null) return NONE;
    const ms = value * 1e3;
    const text = ms >= 1000 ? `${value.toFixed(value < 10 ? 1 : 0)} s` : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
    return value >= most ? `≥ ${text}` : text;
  }

  // A line through the values, with gaps where there are none.
  function spark(id, values) {
    const top = Math.max(...values.map((value) => value ?? 0)) || 1;
    const points = values.map((value, at) =>
      value === null ? "" : `${values[at - 1] == null ? "M" : "L"}${(120 - (values.length - 1 - at) * (120 / (POINTS - 1))).toFixed(1)} ${(23 - (value / top) * 22).toFixed(1)}`);
    node(id, "path").setAttribute("d", points.join(""));
  }

  function show(snapshot) {
    if (snapshots.length && kiln.restarted(snapshots.at(-1), snapshot)) clear();
    snapshots.push(snapshot);
    while (snapshots.length > 2 && snapshots[1].at <= snapshot.at - WINDOW_S) snapshots.shift();
    const { perSecond, p50, p99, most, batch } = kiln.between(snapshots[0], snapshot);
    const { requests, refused } = snapshot;
    const list = (labels, of) => [...new Set(labels.map(of).filter(Boolean))].join(", ");
    tile("rate", perSecond?.toFixed(perSecond < 10 ? 1 : 0), `${requests} so far, ${refused} failed`);
    tile("p50", seconds(p50, most));
    tile("p99", seconds(p99, most));
    tile("batch", batch?.toFixed(1));
    tile("queue", String(snapshot.queue));
    tile("device", list(snapshot.devices, ({ device }) => device) || undefined,
      list(snapshot.devices, (d) => [d.api, d.driver, d.precision, `${d.kernels} kernels`].filter(Boolean).join(" · ")));
    tile("model", list(snapshot.models, ({ model }) => model) || undefined,
      list(snapshot.models, ({ version }) => `version ${version}`));
    rates = [...rates, perSecond].slice(-POINTS);
    tails = [...tails, p99].slice(-POINTS);
    spark("rate", rates);
    spark("p99", tails);
  }

  function clear() {
    [snapshots, rates, tails] = [[], [], []];
    spark("rate", rates);
    spark("p99", tails);
  }

  // No figures, and why.
  function without(why) {
    clear();
    for (const id of ["device", "model", "rate"]) tile(id, NONE, "");
    for (const id of ["queue", "p50", "p99", "batch"]) tile(id, NONE);
    note(why);
  }

  async function metrics() {
    const key = kiln.key.settled();
    if (hopeless === key || performance.now() < notBefore) return;
    const answer = await ask("metrics", guarded && kiln.key.sendable(key) ? kiln.key.headers(key) : {});
    if (answer.ok) {
      hopeless = null;
      note("");
      return show(kiln.snapshot(await answer.text(), performance.now() / 1e3));
    }
    if (answer.status === 401 && !guarded) {
      guarded = true;
      if (key) return metrics();
    }
    const { error } = await answer.json().catch(() => ({}));
    const wait = Number(answer.headers.get("Retry-After"));
    if (wait) notBefore = performance.now() + wait * 1e3;
    else if (answer.status < 500) hopeless = key;
    const refused = key ? `This key does not open the metrics: ${error}.` : "Metrics need a key with the scope 'metrics'.";
    const known = { 401: refused, 403: refused, 404: "Metrics are not served at this address (--metrics-listen, or --metrics=false), so there are no figures here." };
    without(known[answer.status] ?? `No metrics: ${error ?? `status ${answer.status}`}.`);
  }

  async function poll() {
    running = !document.hidden;
    if (!running) return;
    try {
      await readiness();
      await metrics();
    } catch {
      // Whatever comes back may be another server.
      [guarded, hopeless] = [false, null];
      document.getElementById("ready").dataset.is = "no";
      tile("ready", "No answer", "is the server running?");
      without("");
    }
    setTimeout(poll, EVERY_MS);
  }

  document.addEventListener("visibilitychange", () => {
    // What happened meanwhile belongs to no window.
    if (document.hidden) clear();
    else if (!running) poll();
  });
  poll();
})();
