// Computes costs from the formulas of field.json, and lets the reader change size and arguments.
globalThis.attnCosts = (() => {
  const folder = document.currentScript.src;
  let loaded;
  const load = () => {
    loaded ??= fetch(new URL("field.json", folder)).then((answer) => answer.json());
    return loaded;
  };

  const operators = {
    "+": (a, b) => a + b,
    "-": (a, b) => (b === undefined ? -a : a - b),
    "*": (a, b) => a * b,
    "/": (a, b) => a / b,
    "//": (a, b) => Math.floor(a / b),
    "%": (a, b) => a - b * Math.floor(a / b),
    "**": (a, b) => a ** b,
    "==": (a, b) => a === b,
    ">": (a, b) => a > b,
    ">=": (a, b) => a >= b,
    isqrt: (a) => Math.floor(Math.sqrt(a)),
    log2: Math.log2,
    max: Math.max,
    min: Math.min,
  };
  const compute = (tree, values) => {
    if (!Array.isArray(tree)) return typeof tree === "string" ? values[tree] : tree;
    const [operator, ...operands] = tree;
    return operators[operator](...operands.map((one) => compute(one, values)));
  };

  // The costs of a mechanism at a size, {H, W, C}; `unmet` says why there are none.
  const costs = (mechanism, size, options = {}) => {
    const values = { ...mechanism.options, ...options, ...size, N: size.H * size.W };
    for (const [letter, tree] of mechanism.letters) values[letter] = compute(tree, values);
    const unmet = mechanism.needs.filter(([tree]) => !compute(tree, values))
      .map(([, words]) => words.replaceAll(/\{(\w+)\}/g, (_, name) => grouped(values[name])));
    const [parameters, multiplyAdds, maps] = ["parameters", "multiplyAdds", "maps"]
      .map((name) => (unmet.length ? NaN : compute(mechanism[name], values)));
    return { parameters, multiplyAdds, weights: 4 * parameters, maps: 4 * maps, unmet };
  };

  const grouped = (number) => Math.round(number).toLocaleString("en");
  const short = (number, units = ["", " k", " M", " G", " T", " P"], base = 1000) => {
    let unit = 0;
    for (; number >= base && unit + 1 < units.length; unit += 1) number /= base;
    return `${unit ? Number(number.toPrecision(3)) : Math.round(number)}${units[unit]}`;
  };
  const bytes = (number) => short(number, [" B", " KB", " MB", " GB", " TB", " PB"], 1024);
  const counted = (number) =>
    Number.isSafeInteger(Math.round(number)) ? grouped(number) : short(number);

  const RESULTS = [
    ["parameters", "Trainable parameters", counted],
    ["multiplyAdds", "Multiply-adds", counted],
    ["weights", "Memory of the weights", bytes],
    ["maps", "Memory of the attention maps", bytes],
  ];
  const SIZES = { H: ["height", 1, 1024, 128], W: ["width", 1, 1024, 128], C: ["channels", 1, 8192, 1024] };
  const MOST = 4096;  // of an argument

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  // A number with its slider; `said` is what is wrong with it, "" if nothing is.
  const field = (name, value, [label, least, most, reach], changed) => {
    const slider = element("input", { type: "range", min: least, max: reach, value });
    const box = element("input", { type: "number", min: least, max: most, value, required: true });
    slider.ariaLabel = `${label}, slider`;
    box.ariaLabel = label;
    slider.addEventListener("input", () => { box.value = slider.value; changed(); });
    box.addEventListener("input", () => { slider.value = box.value; changed(); });
    const said = () => {
      const number = box.valueAsNumber;
      const wrong = !(Number.isInteger(number) && number >= least && number <= most);
      box.ariaInvalid = String(wrong);
      const received = box.value === "" ? "nothing that is a number" : box.value;
      const limits = `a whole number from ${grouped(least)} to ${grouped(most)}`;
      return wrong ? `${label} must be ${limits}. Received: ${received}.` : "";
    };
    const row = element("div", { className: "cost" }, element("span", {}, label), slider, box);
    return { name, row, said, value: () => box.valueAsNumber };
  };

  const rank = (own, others, name) => {
    const values = others.map((one) => one[name]).filter((number) => !Number.isNaN(number));
    const less = values.filter((number) => number < own[name]).length;
    return `${less + 1} of ${values.length + 1}, from the least`;
  };

  const show = (box, { mechanism, fields }, data) => {
    const wrong = fields.map((one) => one.said()).filter(Boolean);
    const chosen = Object.fromEntries(fields.map((one) => [one.name, one.value()]));
    const { H, W, C, ...options } = chosen;
    const own = wrong.length ? { unmet: wrong } : costs(mechanism, { H, W, C }, options);
    const message = box.querySelector(".costs-message"), list = box.querySelector("dl");
    message.textContent = own.unmet.length
      ? `${mechanism.layer}: ${own.unmet.join(" ")}` : "";
    message.hidden = !own.unmet.length;
    list.hidden = !message.hidden;
    if (list.hidden) return;
    const others = data.mechanisms.filter((one) => one !== mechanism)
      .map((one) => costs(one, { H, W, C }));
    list.replaceChildren(...RESULTS.flatMap(([name, title, written]) => [
      element("dt", {}, title),
      element("dd", {}, written(own[name])),
      element("dd", { className: "rank" }, rank(own, others, name)),
    ]));
  };

  const choose = (box, mechanism, data) => {
    const state = { mechanism };
    const changed = () => show(box, state, data);
    const limits = Object.entries(mechanism.options).map(([name, value]) => {
      const least = mechanism.zero.includes(name) ? 0 : 1;
      return [name, value, [name, least, MOST, Math.max(16, 4 * value)]];
    });
    const sizes = Object.entries(SIZES).map(([name, about]) => [name, data.example[name], about]);
    state.fields = [...sizes, ...limits].map((one) => field(...one, changed));
    box.querySelector(".cost-fields").replaceChildren(...state.fields.map((one) => one.row));
    changed();
  };

  const start = async (box) => {
    const data = await load();
    const find = (key) => data.mechanisms.find((one) => one.key === key);
    box.append(
      element("div", { className: "cost-fields" }),
      element("p", { className: "costs-message", role: "alert", hidden: true }),
      element("dl", { ariaLive: "polite" }),
    );
    if (!box.dataset.mechanism) {
      const select = element("select", { ariaLabel: "Mechanism" });
      select.append(...data.mechanisms.map((one) => new Option(one.name, one.key)));
      select.value = "cbam";
      select.addEventListener("input", () => choose(box, find(select.value), data));
      box.prepend(element("p", { className: "filters" }, select));
    }
    choose(box, find(box.dataset.mechanism || "cbam"), data);
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".costs").forEach(start);
  });
  return { load, costs, grouped, short };
})();
