// The API key: stored in this tab only.
kiln.key = (() => {
  "use strict";
  const NAME = "kiln-key";
  const [field, show, forget, note] = ["key", "show", "forget", "key-note"].map((id) => document.getElementById(id));
  const defaultNote = note.textContent;
  // The browser may forbid storage. The key then exists only in the field.
  const store = (use) => {
    try {
      return use(sessionStorage);
    } catch {
      return null;
    }
  };

  function setVisible(visible) {
    field.type = visible ? "text" : "password";
    show.setAttribute("aria-pressed", visible);
  }

  // Shows what is wrong with the key and focuses the field.
  function showError(message) {
    field.setAttribute("aria-invalid", "true");
    note.textContent = message;
    field.focus();
    field.select();
  }

  function clearError() {
    field.removeAttribute("aria-invalid");
    note.textContent = defaultNote;
  }

  // Returns the key in the field and stores it, so that it survives a reload of the page.
  function get() {
    const key = field.value.trim();
    store((tab) => (key ? tab.setItem(NAME, key) : tab.removeItem(NAME)));
    return key;
  }

  // The server accepts keys and tokens as bearer credentials.
  const headers = (key) => (key ? { Authorization: `Bearer ${key}` } : {});
  const isSendable = (key) => /^[\x21-\x7e]+$/.test(key);

  show.addEventListener("click", () => setVisible(field.type === "password"));
  field.addEventListener("input", clearError);
  field.addEventListener("change", get);
  forget.addEventListener("click", () => {
    field.value = "";
    get();
    setVisible(false);
    clearError();
    note.textContent = "Forgotten.";
    field.focus();
  });
  field.value = store((tab) => tab.getItem(NAME)) ?? "";

  // The stored key counts while the user edits the field.
  const committed = () => (document.activeElement === field ? (store((tab) => tab.getItem(NAME)) ?? "") : get());
  return { get, committed, headers, isSendable, showError, clearError };
})();
