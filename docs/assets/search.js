// Lets the search take titles of papers: it would read a colon in them as the end of a field's name.
document.addEventListener("DOMContentLoaded", () => {
  const field = document.querySelector("input[name=query]");
  field?.addEventListener("input", () => {
    if (field.value.includes(":")) field.value = field.value.replaceAll(":", " ");
  });
});
