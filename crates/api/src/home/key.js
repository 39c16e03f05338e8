// The key: typed in once, kept by this tab alone.
kiln.key = (() => {
  "use strict";
  const NAME = "kiln-key";
  const [field, show, forget, note] = ["key", "show", "forget", "key-note"].map((id) => document.getElementById(id));
  const usual = note.textContent;
  // A browser may forbid a page to store anything; the field still holds the key.
  const store = (use) => {
    try {
      return use(sessionStorage);
    } catch {
      return null;
    }
  };

  function reveal(shown) {
    field.type = shown ? "text" : "password";
    show.setAttribute("aria-pressed", shown);
  }

  // Tells what is wrong with the key, and leads there.
  function refuse(why) {
    field.setAttribute("aria-invalid", "true");
    note.textContent = why;
    field.focus();
    field.select();
  }

  function accept() {
    field.removeAttribute("aria-invalid");
    note.textContent = usual;
  }

  // The key as typed in; stored, so that the tab has it when the page is opened again.
  function get() {
    const key = field.value.trim();
    store((tab) => (key ? tab.setItem(NAME, key) : tab.removeItem(NAME)));
    return key;
  }

  // Keys and tokens are both taken as a bearer's.
  const headers = (key) => (key ? { Authorization: `Bearer ${key}` } : {});
  const sendable = (key) => /^[\x21-\x7e]+$/.test(key);

  show.addEventListener("click", () => reveal(field.type === "password"));
  field.addEventListener("input", accept);
  field.addEventListener("change", get);
  forget.addEventListener("click", () => {
    field.value = "";
    get();
    reveal(false);
    accept();
    note.textContent = "Forgotten.";
    field.focus();
  });
  field.value = store((tab) => tab.getItem(NAME)) ?? "";

  // Half a key is no key: what is being typed in counts when it is complete.
  const settled = () => (document.activeElement === field ? (store((tab) => tab.getItem(NAME)) ?? "") : get());
  return { get, settled, headers, sendable, refuse, accept };
})();
