// Filters the cards of the gallery by family, input, task and cost.
document.addEventListener("DOMContentLoaded", () => {
  const filters = document.getElementById("gallery-filters");
  if (!filters) return;
  const cards = [...document.querySelectorAll(".gallery .card")];
  const choices = ["family", "input", "task", "cost"].map((name) => {
    const words = new Set(cards.flatMap((card) => card.dataset[name].split("|")));
    const select = Object.assign(document.createElement("select"), { ariaLabel: name });
    select.append(new Option(`any ${name}`, ""));
    [...words].sort().forEach((word) => select.append(new Option(word, word)));
    return { name, select };
  });
  const count = Object.assign(document.createElement("output"), { ariaLive: "polite" });
  const filter = () => {
    for (const card of cards) {
      const fits = ({ name, select }) =>
        !select.value || card.dataset[name].split("|").includes(select.value);
      card.hidden = !choices.every(fits);
    }
    count.textContent = `${cards.filter((card) => !card.hidden).length} of ${cards.length}`;
  };
  filters.append(...choices.map(({ select }) => select), count);
  filters.addEventListener("input", filter);
  filter();
});
