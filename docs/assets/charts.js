// Draws the charts with Observable Plot, which is loaded where a page has one.
(() => {
  const folder = document.currentScript.src;
  const { load, costs, grouped, short } = globalThis.attnCosts;
  const SIDES = [7, 14, 28, 56, 112];
  // A logarithmic axis: zero has no place on it and is drawn a decade below the smallest number.
  const axis = (numbers, label) => {
    const positive = numbers.filter((number) => number > 0);
    const zero = 10 ** (Math.floor(Math.log10(Math.min(...positive))) - 1);
    const most = Math.max(...positive);
    const ticks = Array.from({ length: 16 }, (_, power) => zero * 10 ** power)
      .filter((tick) => tick <= most && (tick > zero || numbers.includes(0)));
    return {
      place: (number) => number || zero,
      scale: { type: "log", label, ticks, domain: [ticks[0], 1.3 * most],
        tickFormat: (number) => (number > zero ? short(number) : "0") },
    };
  };

  const library = (name) => new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { onload: done, onerror: failed });
    script.src = new URL(`lib/${name}.js`, folder);
    document.head.append(script);
  });
  let ready;
  const libraries = () => {
    ready ??= library("d3").then(() => library("plot"));
    return ready;
  };

  const address = (key) => String(new URL(`../mechanisms/${key}.html`, folder));
  const colour = (family) => `var(--family-${family})`;
  const symbols = () => {
    const { symbolCircle, symbolCross, symbolDiamond, symbolDiamond2, symbolSquare, symbolStar,
      symbolTriangle, symbolWye } = d3;
    return [symbolCircle, symbolCross, symbolDiamond, symbolSquare, symbolStar, symbolTriangle,
      symbolWye, symbolDiamond2];
  };
  const scales = (families) => ({
    color: { domain: families.map(([key]) => key), range: families.map(([key]) => colour(key)) },
    symbol: { domain: families.map(([key]) => key), range: symbols() },
  });

  const rows = (data, size) => data.mechanisms.map(({ key, name, family, ...one }) => {
    const { parameters, multiplyAdds } = costs(one, size);
    const said = `${name}: ${grouped(parameters)} parameters, ${grouped(multiplyAdds)} multiply-adds`;
    const N = size.H * size.W, href = address(key);
    return { key, name, family, parameters, multiplyAdds, said, N, href };
  });

  // Names beside as many points as there is room for.
  const labels = (points, chart) => {
    const [x, y] = ["x", "y"].map((name) => chart.scale(name).apply);
    const boxes = points.map((one) => [x(one.x) - 5, y(one.y) - 5, x(one.x) + 5, y(one.y) + 5]);
    return points.filter((one, index) => {
      const left = x(one.x) + 8, wide = 6.2 * one.name.length;
      const box = [left, y(one.y) - 7, left + wide, y(one.y) + 7];
      const meets = (other, place) => place !== index
        && box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3];
      if (box[2] > chart.viewBox.baseVal.width || boxes.some(meets)) return false;
      boxes.push(box);
      return true;
    });
  };

  const field = (data, width, key) => {
    const found = rows(data, data.example);
    const x = axis(found.map((one) => one.multiplyAdds), "multiply-adds");
    const y = axis(found.map((one) => one.parameters), "trainable parameters");
    const points = found.map((one) =>
      ({ ...one, x: x.place(one.multiplyAdds), y: y.place(one.parameters) }));
    const own = points.filter((one) => one.key === key);
    const about = { x: "x", y: "y", symbol: "family", fill: "family", href: "href",
      title: "said", ariaLabel: "name", fillOpacity: (one) => (!key || one.key === key ? 0.9 : 0.3) };
    const plot = (...marks) => Plot.plot({
      width, height: key ? 300 : Math.min(560, 1.2 * width), marginLeft: 55, grid: true,
      ...scales(data.families),
      x: x.scale, y: y.scale,
      marks: [
        Plot.dot(points, { ...about, r: 4.5 }),
        Plot.dot(own, { x: "x", y: "y", r: 10, stroke: "currentColor", strokeWidth: 2 }),
        ...marks,
      ],
    });
    const named = key ? own : labels(points, plot());
    const end = (one) => one.x > 1e6;  // text to the left, where there is room
    // The page has the name itself, which may be wider than a phone.
    const text = { x: "x", y: "y", text: key ? () => "this one" : "name", fill: "currentColor",
      stroke: "var(--md-default-bg-color)", strokeWidth: 4, pointerEvents: "none" };
    return plot(...(key
      ? [Plot.text(named.filter(end), { ...text, dx: -15, textAnchor: "end", fontWeight: "bold" }),
        Plot.text(named.filter((one) => !end(one)),
          { ...text, dx: 15, textAnchor: "start", fontWeight: "bold" })]
      : [Plot.text(named, { ...text, dx: 8, textAnchor: "start" })]));
  };

  const growth = (data, width) => {
    const points = SIDES.flatMap((side) => rows(data, { H: side, W: side, C: data.example.C }))
      .filter((one) => !Number.isNaN(one.multiplyAdds));
    const y = axis(points.map((one) => one.multiplyAdds), "multiply-adds");
    return Plot.plot({
      width, height: Math.min(480, width), marginLeft: 55, grid: true, ...scales(data.families),
      x: { type: "point", label: "positions N", tickFormat: grouped }, y: y.scale,
      marks: [Plot.line(points, { x: "N", y: (one) => y.place(one.multiplyAdds), z: "key",
        stroke: "family", href: "href", title: "name", ariaLabel: "name", strokeOpacity: 0.8 })],
    });
  };

  const latency = (data, width) => {
    const known = new Map(rows(data, data.example).map((one) => [one.key, one]));
    const points = data.latency.rows.flatMap(({ key, times }) =>
      Object.entries(times).map(([name, { forward }]) => ({ ...known.get(key), forward,
        backend: data.backends[name],
        said: `${known.get(key).name}: ${forward} ms on ${data.backends[name]}` })));
    const x = axis(points.map((one) => one.multiplyAdds), "multiply-adds");
    const ticks = x.scale.ticks.filter((_, index) => index % 2 === 0);
    return Plot.plot({
      width, height: Math.min(420, width), marginLeft: 55, grid: true, ...scales(data.families),
      x: { ...x.scale, ticks }, fx: { label: null },
      y: { type: "log", label: "milliseconds", tickFormat: String },
      marks: [Plot.frame({ strokeOpacity: 0.3 }), Plot.dot(points, { x: (one) => x.place(one.multiplyAdds), y: "forward",
        fx: "backend", symbol: "family", fill: "family", href: "href", title: "said" })],
    });
  };

  const kinds = { field, growth, latency };

  const legend = (families) => {
    const list = Object.assign(document.createElement("ul"), { className: "legend" });
    families.forEach(([key, title], index) => {
      const path = d3.symbol(symbols()[index], 60)();
      const item = document.createElement("li");
      item.innerHTML = `<svg aria-hidden="true" viewBox="-7 -7 14 14" width="14" height="14">`
        + `<path d="${path}" fill="${colour(key)}"/></svg>`;
      item.append(title);
      list.append(item);
    });
    return list;
  };

  // Says what the pointer or the keyboard is on.
  const listen = (box, output) => {
    const say = (event) => {
      const title = event.target.closest?.("a")?.querySelector("title")
        ?? event.target.querySelector?.(":scope > title");
      if (title) output.textContent = title.textContent;
    };
    box.addEventListener("pointerover", say);
    box.addEventListener("focusin", say);
  };

  const start = async (box) => {
    const [data] = await Promise.all([load(), libraries()]);
    const place = document.createElement("div");
    const output = Object.assign(document.createElement("output"), { ariaLive: "polite" });
    const { chart, key, label } = box.dataset;
    const draw = () => {
      const drawing = kinds[chart](data, Math.max(280, box.clientWidth), key);
      drawing.role = "group";
      drawing.ariaLabel = label;
      place.replaceChildren(drawing);
    };
    output.textContent = key ? "" : "Point at a mark or a line to read what it is; a click opens its page.";
    box.append(legend(data.families), place, output);
    listen(place, output);
    let width = 0;
    new ResizeObserver(() => {
      if (box.clientWidth === width) return;
      width = box.clientWidth;
      draw();
    }).observe(box);
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".chart").forEach(start);
  });
})();
