// The tiles with the state of the server, updated every two seconds while the page is visible.
(() => {
  "use strict";
  const [EVERY_MS, WINDOW_S, POINTS] = [2000, 10, 60];
  const NONE = "–";
  const node = (id, part) => document.querySelector(`#${id} ${part}`);
  // Whether a request is in flight or a timer for the next one is set.
  let running = false;
  // Snapshots of the last seconds, and the values of the sparklines.
  let [snapshots, rates, p99s] = [[], [], []];
  // The metrics may require a key. A key that was refused is not sent again.
  let [needsKey, refusedKey, notBefore] = [false, null, 0];

  // Writes only changed text, so that screen readers do not repeat the rest.
  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tile(id, value, small) {
    write(node(id, "b"), value ?? NONE);
    if (small !== undefined) write(node(id, "small"), small);
  }

  const note = (text) => write(document.getElementById("note"), text);
  const request = (path, headers) =>
    fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(5000) });

  async function readiness() {
    const response = await request("health/ready", {});
    const { ready, state } = await response.json();
    document.getElementById("ready").dataset.is = ready ? "yes" : "no";
    const reasons = { starting: "models are loading", recovering: "the device is being replaced", draining: "the server is shutting down",
      failed: "see the log for the reason" };
    tile("ready", ready ? "Ready" : `Not ready: ${state}`, ready ? "accepts requests" : (reasons[state] ?? ""));
  }

  function formatSeconds(value, max) {
    if (value === null) return NONE;
    const ms = value * 1e3;
    const text = ms >= 1000 ? `${value.toFixed(value < 10 ? 1 : 0)} s` : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
    return value >= max ? `≥ ${text}` : text;
  }

  // Draws a line through the values, with gaps at null.
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
    const { perSecond, p50, p99, maxQuantile, batch } = kiln.between(snapshots[0], snapshot);
    const { requests, failed } = snapshot;
    const list = (labels, of) => [...new Set(labels.map(of).filter(Boolean))].join(", ");
    tile("rate", perSecond?.toFixed(perSecond < 10 ? 1 : 0), `${requests} in total, ${failed} failed`);
    tile("p50", formatSeconds(p50, maxQuantile));
    tile("p99", formatSeconds(p99, maxQuantile));
    tile("batch", batch?.toFixed(1));
    tile("queue", String(snapshot.queue));
    tile("device", list(snapshot.devices, ({ device }) => device) || undefined,
      list(snapshot.devices, (d) => [d.api, d.driver, d.precision, `${d.kernels} kernels`].filter(Boolean).join(" · ")));
    tile("model", list(snapshot.models, ({ model }) => model) || undefined,
      list(snapshot.models, ({ version }) => `version ${version}`));
    rates = [...rates, perSecond].slice(-POINTS);
    p99s = [...p99s, p99].slice(-POINTS);
    spark("rate", rates);
    spark("p99", p99s);
  }

  function clear() {
    [snapshots, rates, p99s] = [[], [], []];
    spark("rate", rates);
    spark("p99", p99s);
  }

  // Clears the figures and shows the reason.
  function clearWithNote(reason) {
    clear();
    for (const id of ["device", "model", "rate"]) tile(id, NONE, "");
    for (const id of ["queue", "p50", "p99", "batch"]) tile(id, NONE);
    note(reason);
  }

  async function metrics() {
    const key = kiln.key.committed();
    if (refusedKey === key || performance.now() < notBefore) return;
    const response = await request("metrics", needsKey && kiln.key.isSendable(key) ? kiln.key.headers(key) : {});
    if (response.ok) {
      refusedKey = null;
      note("");
      return show(kiln.snapshot(await response.text(), performance.now() / 1e3));
    }
    if (response.status === 401 && !needsKey) {
      needsKey = true;
      if (key) return metrics();
    }
    const { error } = await response.json().catch(() => ({}));
    const wait = Number(response.headers.get("Retry-After"));
    if (wait) notBefore = performance.now() + wait * 1e3;
    else if (response.status < 500) refusedKey = key;
    const refused = key ? `This key cannot read the metrics: ${error}.` : "The metrics need a key with the scope 'metrics'.";
    const messages = { 401: refused, 403: refused, 404: "No figures: the metrics are not served at this address (see --metrics-listen and --metrics)." };
    clearWithNote(messages[response.status] ?? `No metrics: ${error ?? `status ${response.status}`}.`);
  }

  async function poll() {
    running = !document.hidden;
    if (!running) return;
    try {
      await readiness();
      await metrics();
    } catch {
      // The server that comes back may be another one.
      [needsKey, refusedKey] = [false, null];
      document.getElementById("ready").dataset.is = "no";
      tile("ready", "No response", "is the server running?");
      clearWithNote("");
    }
    setTimeout(poll, EVERY_MS);
  }

  document.addEventListener("visibilitychange", () => {
    // Requests of the hidden time belong to no window.
    if (document.hidden) clear();
    else if (!running) poll();
  });
  poll();
})();
