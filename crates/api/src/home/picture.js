// A picture: taken by drop, choice or paste, sent, and the answer shown.
(() => {
  "use strict";
  const element = (id) => document.getElementById(id);
  const [drop, file, preview, again] = ["drop", "file", "preview", "again"].map(element);
  // JSON has no order; this is the one in which things happen. What is not listed comes after.
  const ORDER = ["receive", "decode_wait", "decode", "preprocess", "queue", "batch_wait", "device", "postprocess"];
  let picture = null;
  let sending = null;
  let refused = false;

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

  // Drawn, not linked, so that the page's policy needs no exception.
  async function draw(blob) {
    const bitmap = await createImageBitmap(blob).catch(() => null);
    if (blob !== picture) return;
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
    picture = first;
    element("drop-what").textContent = first.name || "A picture";
    const more = files.length > 1 ? `The first of ${files.length}. ` : "";
    element("drop-how").textContent = `${size(first.size)}. ${more}Drop, choose or paste another.`;
    again.hidden = false;
    draw(first);
    send();
  }

  async function send() {
    sending?.abort();
    const mine = (sending = new AbortController());
    const key = kiln.key.get();
    if (!kiln.key.sendable(key)) {
      refused = true;
      kiln.key.refuse(key ? "A key has no spaces and no letters beyond ASCII." : "Type in the key first; Enter then sends the picture.");
      return fail({ error: key ? "This cannot be a key." : "The picture was not sent: there is no key yet." });
    }
    say("Sending the picture …");
    element("error").replaceChildren();
    const begun = performance.now();
    let answer, body;
    try {
      answer = await fetch("predict/raw?top_k=5", { method: "POST", headers: kiln.key.headers(key), body: picture, signal: mine.signal });
      body = await answer.json();
    } catch (error) {
      if (mine.signal.aborted) return;
      return fail({ error: answer ? `What came back is no JSON (status ${answer.status}).` : "The server did not answer. Is it running, and is the file still there?" });
    }
    const waited = performance.now() - begun;
    refused = answer.status === 401;
    if (!refused) kiln.key.accept();
    if (answer.ok) return succeed(body, answer.headers.get("X-Request-Id"), waited);
    if (refused) kiln.key.refuse(`${body.error}. Enter sends the picture again.`);
    fail({ ...body, status: answer.status, after: answer.headers.get("Retry-After") });
  }

  const say = (text, ...rest) => element("summary").replaceChildren(text, ...rest);

  function fail({ error, hint, code, status, request_id, after }) {
    element("result").hidden = true;
    say("");
    const lines = [make("p", { children: [make("b", { text: error })] })];
    if (hint) lines.push(make("p", { text: hint }));
    if (after) lines.push(make("p", { text: `The server asks to wait ${after} s.` }));
    if (code) lines.push(make("p", { children: ["Status ", String(status), ", code ", make("code", { text: code })] }));
    if (request_id) lines.push(make("p", { children: ["Request id ", make("code", { text: request_id })] }));
    element("error").replaceChildren(...lines);
  }

  function succeed({ predictions, timings_ms, image, model }, id, waited) {
    const [best] = predictions;
    say(make("b", { text: best.label }), `${percent(best.probability)} in ${ms(timings_ms.total)} ms; this browser waited ${ms(waited)} ms`);
    element("classes").replaceChildren(...predictions.map(row));
    phases(timings_ms);
    const facts = [["Request id", make("code", { text: id })], ["Model", `${model.name}, version ${model.version}`],
      ["Picture", `${image.format.toUpperCase()}, ${image.width} × ${image.height}`]];
    element("facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { children: [value] })]));
    element("result").hidden = false;
  }

  function row({ label, probability }) {
    const part = make("i");
    part.style.width = `${probability * 100}%`;
    return make("li", { children: [make("span", { text: label, className: "label" }), make("span", { text: percent(probability), className: "percent" }),
      make("span", { className: "bar", children: [part] })] });
  }

  // Whatever phases there are, and what of the total is in none of them.
  function phases({ total, ...parts }) {
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
    // So that the same file can be chosen again.
    file.value = "";
  });
  again.addEventListener("click", send);
  element("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    kiln.key.get();
    if (picture && refused) send();
  });
  // Anywhere will do: a near miss must not make the browser leave the page for the picture.
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
