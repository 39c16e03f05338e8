// Takes an image by drop, choice or paste, sends it, and shows the response.
(() => {
  "use strict";
  const element = (id) => document.getElementById(id);
  const [drop, file, preview, again] = ["drop", "file", "preview", "again"].map(element);
  // The phases in the order in which they happen; unknown phases come last.
  const ORDER = ["receive", "decode_wait", "decode", "preprocess", "queue", "batch_wait", "device", "postprocess"];
  let image = null;
  let inFlight = null;
  let keyRefused = false;

  function make(name, { text, className, children = [] } = {}) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  const percent = (part) => (part > 0 && part < 0.0005 ? "< 0.1 %" : `${(part * 100).toFixed(1)} %`);
  const ms = (value) => value.toFixed(value < 10 ? 2 : 1);
  const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

  // Draws on a canvas, because the page's policy forbids blob URLs.
  async function draw(blob) {
    const bitmap = await createImageBitmap(blob).catch(() => null);
    if (blob !== image) return;
    preview.hidden = !bitmap;
    if (!bitmap) return;
    const scale = Math.min(1, 720 / bitmap.width, 480 / bitmap.height);
    preview.width = Math.max(1, bitmap.width * scale);
    preview.height = Math.max(1, bitmap.height * scale);
    preview.getContext("2d").drawImage(bitmap, 0, 0, preview.width, preview.height);
    bitmap.close();
  }

  function take(files) {
    const [first] = files;
    if (!first) return;
    image = first;
    element("drop-what").textContent = first.name || "An image";
    const more = files.length > 1 ? `The first of ${files.length} files. ` : "";
    element("drop-how").textContent = `${size(first.size)}. ${more}Drop, choose or paste another.`;
    again.hidden = false;
    draw(first);
    send();
  }

  async function send() {
    inFlight?.abort();
    const controller = (inFlight = new AbortController());
    const key = kiln.key.get();
    if (!kiln.key.isSendable(key)) {
      keyRefused = true;
      kiln.key.showError(key ? "A key must be ASCII without spaces." : "Type in the key first; Enter then sends the image.");
      return showError({ error: key ? "This is not a valid key." : "The image was not sent: there is no key yet." });
    }
    setSummary("Sending the image …");
    element("error").replaceChildren();
    const started = performance.now();
    let response, body;
    try {
      response = await fetch("predict/raw?top_k=5", { method: "POST", headers: kiln.key.headers(key), body: image, signal: controller.signal });
      body = await response.json();
    } catch (error) {
      if (controller.signal.aborted) return;
      return showError({ error: response ? `The response is not JSON (status ${response.status}).` : "The server did not respond. Is it running? Does the file still exist?" });
    }
    const waited = performance.now() - started;
    keyRefused = response.status === 401;
    if (!keyRefused) kiln.key.clearError();
    if (response.ok) return showPrediction(body, response.headers.get("X-Request-Id"), waited);
    if (keyRefused) kiln.key.showError(`${body.error}. Enter sends the image again.`);
    showError({ ...body, status: response.status, after: response.headers.get("Retry-After") });
  }

  const setSummary = (text, ...rest) => element("summary").replaceChildren(text, ...rest);

  function showError({ error, hint, code, status, request_id, after }) {
    element("result").hidden = true;
    setSummary("");
    const lines = [make("p", { children: [make("b", { text: error })] })];
    if (hint) lines.push(make("p", { text: hint }));
    if (after) lines.push(make("p", { text: `Retry after ${after} s.` }));
    if (code) lines.push(make("p", { children: ["Status ", String(status), ", code ", make("code", { text: code })] }));
    if (request_id) lines.push(make("p", { children: ["Request id ", make("code", { text: request_id })] }));
    element("error").replaceChildren(...lines);
  }

  function showPrediction({ predictions, timings_ms, image: { format, width, height }, model }, id, waited) {
    const [best] = predictions;
    setSummary(make("b", { text: best.label }), `${percent(best.probability)} in ${ms(timings_ms.total)} ms; ${ms(waited)} ms in this browser`);
    element("classes").replaceChildren(...predictions.map(row));
    showPhases(timings_ms);
    const facts = [["Request id", make("code", { text: id })], ["Model", `${model.name}, version ${model.version}`],
      ["Image", `${format.toUpperCase()}, ${width} × ${height}`]];
    element("facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { children: [value] })]));
    element("result").hidden = false;
  }

  function row({ label, probability }) {
    const part = make("i");
    part.style.width = `${probability * 100}%`;
    return make("li", { children: [make("span", { text: label, className: "label" }), make("span", { text: percent(probability), className: "percent" }),
      make("span", { className: "bar", children: [part] })] });
  }

  // Shows all phases, and the rest of the total that belongs to none of them.
  function showPhases({ total, ...parts }) {
    const place = ([name]) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
    const list = Object.entries(parts).sort((one, other) => place(one) - place(other));
    const colours = list.map((_, at) => `p${at % 8}`);
    const rest = total - list.reduce((sum, [, took]) => sum + took, 0);
    if (rest >= total / 100) {
      list.push(["other", rest]);
      colours.push("rest");
    }
    element("stack").replaceChildren(...list.map(([, took], at) => {
      const part = make("i", { className: colours[at] });
      part.style.flexGrow = took;
      return part;
    }));
    element("phases").replaceChildren(...list.map(([name, took], at) => {
      const heading = make("th", { children: [make("i", { className: colours[at] }), name.replaceAll("_", " ")] });
      heading.scope = "row";
      return make("tr", { children: [heading, make("td", { text: ms(took) }), make("td", { text: total > 0 ? percent(took / total) : "–" })] });
    }));
    element("total").textContent = ms(total);
  }

  drop.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    take(file.files);
    // Otherwise the same file could not be chosen again.
    file.value = "";
  });
  again.addEventListener("click", send);
  element("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    kiln.key.get();
    if (image && keyRefused) send();
  });
  // The whole page accepts drops: after a near miss the browser would open the image instead.
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    drop.classList.remove("over");
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) take(event.clipboardData.files);
  });
})();
