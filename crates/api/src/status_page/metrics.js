// Parses Prometheus' text format and computes the figures of the page. It does not access the page.
const kiln = (() => {
  "use strict";
  // The operations that classify images, by the value of the label `operation`.
  const PREDICTING = ["predict", "predict_raw", "predict_batch", "oip_infer", "oip_infer_version"];
  const SERIES = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
  const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
  const ESCAPES = { n: "\n" };

  const number = (text) => (text === "+Inf" ? Infinity : Number(text));
  const unescaped = (text) => text.replace(/\\(.)/g, (_, letter) => ESCAPES[letter] ?? letter);

  // Returns the series of a metrics page: lists of {labels, value} by name.
  function parse(text) {
    const all = new Map();
    for (const line of text.split("\n")) {
      const [, name, labels, value] = SERIES.exec(line) ?? [];
      if (!name) continue;
      const pairs = [...(labels ?? "").matchAll(LABEL)].map(([, label, of]) => [label, unescaped(of)]);
      const list = all.get(name) ?? [];
      list.push({ labels: Object.fromEntries(pairs), value: number(value) });
      all.set(name, list);
    }
    return all;
  }

  // Returns the models and their stable versions; without a label, the version of the build.
  function models(built, labelled) {
    const stable = labelled.filter(({ labels, value }) => labels.label === "stable" && value === 1);
    const version = (model) => stable.filter(({ labels }) => labels.model === model).at(-1)?.labels.version;
    return built.map(({ labels: { model, model_version } }) => ({ model, version: version(model) ?? model_version }));
  }

  // Returns the totals that the figures need from a metrics page read at `at`, in seconds. Missing series are 0.
  function snapshot(text, at) {
    const all = parse(text);
    const list = (name) => all.get(name) ?? [];
    const predicting = (name) => list(name).filter(({ labels }) => PREDICTING.includes(labels.operation));
    const sum = (series) => series.reduce((total, { value }) => total + value, 0);
    const buckets = new Map();
    for (const { labels, value } of predicting("kiln_request_duration_seconds_bucket")) {
      const bound = number(labels.le);
      buckets.set(bound, (buckets.get(bound) ?? 0) + value);
    }
    const counted = predicting("kiln_requests_total");
    return {
      at,
      buckets,
      requests: sum(counted),
      failed: sum(counted.filter(({ labels }) => labels.outcome !== "ok")),
      images: sum(list("kiln_batch_size_sum")),
      batches: sum(list("kiln_batch_size_count")),
      queue: sum(list("kiln_queue_depth")),
      models: models(list("kiln_build_info"), list("kiln_model_version_info")),
      devices: list("kiln_device_info").map(({ labels }) => labels),
    };
  }

  // Prometheus' histogram_quantile. `buckets` are [upper bound, cumulative count], ascending; the last bound is infinite.
  // Returns null if nothing was counted.
  function quantile(q, buckets) {
    const total = buckets.at(-1)?.[1] ?? 0;
    if (!(total > 0)) return null;
    const rank = q * total;
    const at = buckets.findIndex(([, count]) => count >= rank);
    const [below, before] = at > 0 ? buckets[at - 1] : [0, 0];
    const [bound, count] = buckets[at];
    if (bound === Infinity) return below;
    return count > before ? below + ((bound - below) * (rank - before)) / (count - before) : bound;
  }

  // Returns the figures of the time between two snapshots; null if there is no value.
  function between(older, newer) {
    const seconds = newer.at - older.at;
    const bounds = [...newer.buckets.keys()].sort((a, b) => a - b);
    const buckets = bounds.map((bound) => [bound, newer.buckets.get(bound) - (older.buckets.get(bound) ?? 0)]);
    const batches = newer.batches - older.batches;
    return {
      perSecond: seconds > 0 ? (newer.requests - older.requests) / seconds : null,
      p50: quantile(0.5, buckets),
      p99: quantile(0.99, buckets),
      // The largest finite bound: a quantile is never larger.
      maxQuantile: bounds.at(-2) ?? Infinity,
      batch: batches > 0 ? (newer.images - older.images) / batches : null,
    };
  }

  // Counters decrease only if the server was restarted.
  const restarted = (older, newer) => newer.requests < older.requests || newer.batches < older.batches;

  return { parse, snapshot, quantile, between, restarted };
})();
