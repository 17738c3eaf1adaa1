// A button beside each password that shows what was typed: without a script there is none, and nothing is missing.
for (const field of document.querySelectorAll('input[type="password"]')) {
  const button = document.createElement("button");
  const show = (shown) => {
    field.type = shown ? "text" : "password";
    button.textContent = shown ? "Hide" : "Show";
    button.setAttribute("aria-label", (shown ? "Hide " : "Show ") + field.labels[0].textContent.trim().toLowerCase());
    button.setAttribute("aria-pressed", String(shown));
  };
  button.type = "button";
  button.className = "show-password";
  button.id = field.id === "password" ? "show-password" : "show-" + field.id;
  button.setAttribute("aria-controls", field.id);
  button.addEventListener("click", () => {
    show(field.type === "password");
    field.focus();
  });
  show(false);
  field.after(button);
  // What is sent is a password again: browsers keep other fields for other forms.
  field.form.addEventListener("submit", () => show(false));
}
