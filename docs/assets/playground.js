// The playground: ONNX Runtime Web runs small networks, whose attention maps are drawn over a picture.
globalThis.attnPlayground = (() => {
  const script = document.currentScript.src;
  const address = (path) => String(new URL(path, script));
  const NOWHERE = 65535;  // in a table: no number of the map is drawn here
  const MOST = 64e6;  // pixels of a picture: four bytes each in memory
  const FIRST = ["cbam", "dot-product"];
  const COLOURS = ["#5b7fd6", "#c2703d", "#3f9a6b", "#a65fb0"];
  const VIRIDIS = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58",
    "b5de2b", "fde725"].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const canvas = (width, height) => element("canvas", { width, height });
  const grouped = (number) => number.toLocaleString("en");
  const short = (number) => String(Number(number.toPrecision(3)));
  const bytes = (number) =>
    (number < 1e6 ? `${Math.round(number / 1e3)} kB` : `${(number / 1e6).toFixed(1)} MB`);
  const milliseconds = (number) => `${Math.max(1, Math.round(number))} ms`;

  // Pictures.

  // The middle of a picture: in colours and in grey as it is shown, and as the networks take it.
  const prepared = (source, width, height, { size, display: [high, wide] }) => {
    const picture = { colour: canvas(wide, high), grey: canvas(wide, high) };
    const context = picture.colour.getContext("2d", { willReadFrequently: true });
    const scale = Math.max(wide / width, high / height);
    context.fillStyle = "white";
    context.fillRect(0, 0, wide, high);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, (wide - width * scale) / 2, (high - height * scale) / 2,
      width * scale, height * scale);
    const pixels = context.getImageData(0, 0, wide, high);
    const [rows, columns] = size, side = wide / columns;
    picture.input = new Float32Array(rows * columns * 3);
    for (let place = 0; place < wide * high; place += 1) {
      const row = Math.floor(place / wide / side), column = Math.floor((place % wide) / side);
      const colours = pixels.data.subarray(4 * place, 4 * place + 3);
      colours.forEach((one, at) => {
        picture.input[3 * (row * columns + column) + at] += one / 255 / side ** 2;
      });
      colours.fill((colours[0] + colours[1] + colours[2]) / 3);
    }
    picture.grey.getContext("2d").putImageData(pixels, 0, 0);
    return picture;
  };

  const loaded = (source) => new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = failed;
    image.src = source;
  });

  // The reader's own picture, and a sentence about it; an error if it cannot be used.
  const read = async (file, data) => {
    const source = URL.createObjectURL(file);
    try {
      const image = await loaded(source).catch(() => ({}));
      const { naturalWidth: width, naturalHeight: height } = image;
      if (!width || !height) {
        throw Error(`${file.name} is not a picture that this browser can read. Choose a PNG, JPEG or WebP file.`);
      }
      const about = `${file.name} has ${grouped(width)} x ${grouped(height)} pixels`;
      if (width * height > MOST) {
        throw Error(`${about}. The playground reads at most ${grouped(MOST)} pixels: make the picture smaller first.`);
      }
      const [rows, columns] = data.size;
      return [prepared(image, width, height, data),
        `${about}. The networks see its middle, as ${columns} x ${rows} pixels. It stays in your browser.`];
    } finally {
      URL.revokeObjectURL(source);
    }
  };

  // Networks.

  let library;
  const runtime = () => {
    library ??= import(address("lib/onnxruntime-web.mjs")).then((ort) => {
      ort.env.wasm.numThreads = 1;
      ort.env.wasm.wasmPaths = { wasm: address("lib/onnxruntime-web.wasm") };
      return ort;
    });
    return library;
  };

  const fetched = async (path) => {
    const answer = await fetch(address(`playground/${path}`));
    if (!answer.ok) throw Error(`${answer.status} ${answer.statusText}: ${path}`);
    return answer;
  };

  // One job after the other: the library has one thread.
  let last = Promise.resolve();
  const queued = (job) => {
    const next = last.then(job);
    last = next.catch(() => {});
    return next;
  };

  const networks = new Map();
  let warm = false;  // whether the library is loaded, so that what follows takes its usual time
  const network = (mechanism) => {
    const load = async () => {
      const { key, views } = mechanism, begin = performance.now(), usual = warm;
      const [model, ...tables] = await Promise.all(
        [`${key}.onnx`, ...views.map((view) => view.table)].map(async (file) =>
          file && (await fetched(`networks/${file}`)).arrayBuffer()),
      );
      const ort = await runtime();
      const session = await queued(() => ort.InferenceSession.create(new Uint8Array(model)));
      if (usual) performance.measure("playground: load", { start: begin, detail: key });
      return { ort, key, session, load: usual && performance.now() - begin,
        tables: tables.map((table) => table && new Uint16Array(table)) };
    };
    if (!networks.has(mechanism)) networks.set(mechanism, load());
    return networks.get(mechanism);
  };

  // The maps of a layer, for an input of the networks' size.
  const run = ({ ort, key, session }, input, [rows, columns]) => queued(async () => {
    const begin = performance.now();
    const tensor = new ort.Tensor("float32", input, [1, rows, columns, 3]);
    const results = await session.run({ [session.inputNames[0]]: tensor });
    const measure = performance.measure("playground: run", { start: begin, detail: key });
    return { maps: session.outputNames.map((name) => results[name].data), run: measure.duration };
  });

  // The numbers of a panel of a view, row by row, for a query; NaN where there is none.
  const numbers = (view, map, table, query, panel) => {
    const [rows, columns] = view.shape, count = rows * columns;
    return Array.from({ length: count }, (_, cell) => {
      const place = table ? table[query * count + cell] : query * count + cell;
      return place === NOWHERE ? NaN : map[place + view.offsets[panel]];
    });
  };
  const average = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const mean = (panels) => panels[0].map((_, cell) => average(panels.map((one) => one[cell])));

  // Drawings.

  const colour = (share) => {
    const place = share * (VIRIDIS.length - 1);
    const at = Math.min(Math.floor(place), VIRIDIS.length - 2);
    return VIRIDIS[at].map((from, part) => from + (place - at) * (VIRIDIS[at + 1][part] - from));
  };

  const tiles = (values, [rows, columns], [low, high]) => {
    const made = canvas(columns, rows), context = made.getContext("2d");
    const image = context.createImageData(columns, rows);
    values.forEach((value, place) => {
      if (Number.isNaN(value)) return;
      image.data.set([...colour((value - low) / (high - low || 1)), 255], 4 * place);
    });
    context.putImageData(image, 0, 0);
    return made;
  };

  const stretched = (context, source, alpha = 1) => {
    context.imageSmoothingEnabled = false;
    context.globalAlpha = alpha;
    context.drawImage(source, 0, 0, context.canvas.width, context.canvas.height);
    context.globalAlpha = 1;
  };

  const framed = (context, [rows, columns], [row, column]) => {
    const { width, height } = context.canvas;
    Object.assign(context, { strokeStyle: "red", lineWidth: 4 });
    context.strokeRect((column * width) / columns, (row * height) / rows, width / columns, height / rows);
  };

  // One bar for each column; the rows of a stack lie one on the other.
  const bars = (context, values, [rows, columns], [low, high]) => {
    const { width, height } = context.canvas;
    const up = (value) => height * (1 - (value - low) / (high - low || 1));
    for (let column = 0; column < columns; column += 1) {
      let bottom = 0;
      for (let row = 0; row < rows; row += 1) {
        const value = values[row * columns + column];
        context.fillStyle = COLOURS[row % COLOURS.length];
        context.fillRect((column * width) / columns + 1, up(bottom), width / columns - 2,
          up(bottom + value) - up(bottom));
        bottom += value;
      }
    }
  };

  const limits = (view, values) => {
    const known = values.filter((value) => !Number.isNaN(value));
    const most = Math.max(...known);
    if (view.kind === "bars") return [Math.min(0, ...known), Math.max(view.top, most)];
    return view.kind === "stack" ? [0, 1] : [Math.min(...known), most];
  };

  // What the numbers say, in words: for those who do not see the drawing, and for exact values.
  const words = (view, values, label, [row, column]) => {
    const [low, high] = limits(view, values), [rows, columns] = view.shape;
    const what = view.what[0].toUpperCase() + view.what.slice(1) + (label && ` (${label})`);
    const range = `from ${short(low)} to ${short(high)}`;
    if (view.kind === "image") {
      const here = values[row * columns + column];
      return `${what}: ${range}, ${Number.isNaN(here) ? "none" : short(here)} in the frame.`;
    }
    if (view.kind === "bars") {
      const most = Math.max(...values);
      return `${what}: up to ${short(most)}, of ${view.columns} ${values.indexOf(most)}.`;
    }
    if (view.kind === "matrix") return `${what}: ${range}.`;
    const branches = Array.from({ length: rows }, (_, at) =>
      `${short(average(values.slice(at * columns, (at + 1) * columns)))} for ${view.rows} ${at}`);
    return `${what}: on average ${branches.join(", ")}.`;
  };

  // Half of the page: a mechanism, its maps, and what they say.

  const side = (number, state) => {
    const { data } = state, [high, wide] = data.display, name = ["left", "right"][number];
    const select = (label) => element("select", { ariaLabel: `${label}, ${name}` });
    const [mechanisms, views, panels] = ["Mechanism", "Map", "Panel"].map(select);
    const photograph = canvas(wide, high), chart = canvas(wide, wide / 4);
    const said = element("output", { ariaLive: "polite", id: `playground-said-${number}` });
    const times = element("p", { className: "playground-times" });
    const [least, most] = [element("span"), element("span")];
    const scale = element("p", { className: "playground-scale", hidden: true }, least, element("i"), most);
    const legend = element("p", { className: "playground-legend", hidden: true });
    const row = (...lists) => element("p", { className: "filters" }, ...lists);
    const box = element("section", {}, row(mechanisms), photograph, row(views, panels), chart, scale,
      legend, said, times);
    mechanisms.append(...data.mechanisms.map((one) => new Option(one.name, one.key)));
    Object.assign(photograph, { tabIndex: 0, role: "img" });
    photograph.setAttribute("aria-describedby", said.id);
    Object.assign(chart, { hidden: true, role: "img", ariaLabel: "The numbers as a chart" });

    let current;  // the network whose maps are drawn
    const mechanism = () => data.mechanisms.find((one) => one.key === mechanisms.value);
    const view = () => current.mechanism.views[views.value];

    const draw = () => {
      const context = photograph.getContext("2d");
      photograph.ariaLabel = `Photograph, ${name}: arrow keys move the frame`;
      stretched(context, current ? state.picture.grey : state.picture.colour);
      if (!current) return;
      const one = view(), [map, table] = [current.maps[one.map], current.tables[views.value]];
      const cell = ([rows, columns]) =>
        [Math.floor(state.place[0] * rows), Math.floor(state.place[1] * columns)];
      const over = one.kind === "image";
      const grid = one.grid ?? (over ? one.shape : data.grid), place = cell(grid);
      const query = one.grid ? place[0] * grid[1] + place[1] : 0;
      const chosen = panels.value === "mean" ? one.offsets.keys() : [Number(panels.value)];
      const values = mean([...chosen].map((panel) => numbers(one, map, table, query, panel)));
      const range = limits(one, values);
      const coloured = over || one.kind === "matrix";
      if (over) stretched(context, tiles(values, one.shape, range), 0.65);
      else stretched(context, state.picture.colour);
      framed(context, grid, place);
      chart.hidden = over;
      chart.height = one.kind === "matrix" ? wide : wide / 4;
      if (one.kind === "matrix") stretched(chart.getContext("2d"), tiles(values, one.shape, range));
      else if (!over) bars(chart.getContext("2d"), values, one.shape, range);
      scale.hidden = !coloured;
      [least.textContent, most.textContent] = range.map(short);
      legend.hidden = one.kind !== "stack";
      legend.replaceChildren(...Array.from({ length: one.shape[0] }, (_, at) => {
        const swatch = element("i");
        swatch.style.background = COLOURS[at % COLOURS.length];
        return element("span", {}, swatch, `${one.rows} ${at}`);
      }));
      said.textContent = words(one, values, one.panels.length > 1 ? panels.selectedOptions[0].text : "", place);
    };

    const fill = (list, options) => {
      list.replaceChildren(...options);
      list.hidden = options.length < 2;
    };
    const choosePanel = () => {
      const { panels: labels, mean: averaged } = view();
      const kind = labels[0].split(" ")[0];
      fill(panels, [
        ...(averaged ? [new Option(`mean over the ${kind}s`, "mean")] : []),
        ...labels.map((label, at) => new Option(label, at)),
      ]);
      draw();
    };

    // Load and run the network, unless the reader has meanwhile chosen another or another picture.
    const show = async () => {
      const wanted = mechanism(), { picture } = state;
      try {
        const one = await network(wanted);
        const { maps, run: time } = await run(one, picture.input, data.size);
        if (wanted !== mechanism() || picture !== state.picture) return;
        const another = current?.mechanism !== wanted;
        current = { ...one, maps, mechanism: wanted };
        const loading = one.load ? `loaded in ${milliseconds(one.load)}, ` : "";
        times.textContent = `Network of ${bytes(wanted.bytes)}: ${loading}run in ${milliseconds(time)}.`;
        if (another) {
          fill(views, wanted.views.map((each, at) => new Option(`${at + 1}. ${each.what}`, at)));
          views.value = Math.max(0, wanted.views.findIndex((each) => each.kind === "image"));
          choosePanel();
        } else draw();
        box.dataset.shows = wanted.key;
      } catch (error) {
        state.complain(`${wanted.name} could not be loaded: ${error.message}. Reload the page to try again.`);
      }
    };

    const point = (event) => {
      const { left, top, width, height } = photograph.getBoundingClientRect();
      const inside = (share) => Math.min(Math.max(share, 0), 0.999);
      state.move([inside((event.clientY - top) / height), inside((event.clientX - left) / width)]);
    };
    photograph.addEventListener("pointermove", point);
    photograph.addEventListener("pointerdown", point);
    photograph.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      state.move(step.map((by, axis) => {
        const cells = data.grid[axis], cell = Math.floor(state.place[axis] * cells) + by;
        return (Math.min(Math.max(cell, 0), cells - 1) + 0.5) / cells;
      }));
    });
    mechanisms.addEventListener("input", () => { if (state.started) show(); else draw(); });
    views.addEventListener("input", choosePanel);
    panels.addEventListener("input", draw);
    for (const list of [views, panels]) list.hidden = true;
    return { box, draw, show, choose: (key) => { mechanisms.value = key; } };
  };

  // The whole.

  const build = async (box) => {
    const data = await (await fetched("index.json")).json();
    const message = element("p", { className: "playground-message", role: "alert", hidden: true });
    const status = element("output", { className: "playground-status", ariaLive: "polite" });
    const state = { data, place: [0.6, 0.35], started: false };
    state.complain = (text) => {
      message.textContent = text;
      message.hidden = !text;
    };
    state.move = (place) => {
      state.place = place;
      sides.forEach((one) => one.draw());
    };
    const sides = [0, 1].map((number) => side(number, state));
    const asked = new URLSearchParams(location.search).get("mechanism");
    const known = data.mechanisms.some((one) => one.key === asked);
    [known ? asked : FIRST[0], asked === FIRST[1] ? FIRST[0] : FIRST[1]]
      .forEach((key, number) => sides[number].choose(key));

    const use = (picture, about) => {
      state.picture = picture;
      state.complain("");
      status.textContent = about;
      sides.forEach((one) => (state.started ? one.show() : one.draw()));
    };
    const images = await Promise.all(
      data.photographs.map(({ name }) => loaded(address(`playground/${name}.webp`))));
    const buttons = data.photographs.map(({ title }, at) => {
      const image = Object.assign(images[at], { alt: title });
      const button = element("button", { type: "button", ariaPressed: "false" }, image);
      button.addEventListener("click", () => {
        press(button);
        use(prepared(image, image.naturalWidth, image.naturalHeight, data), `${title}.`);
      });
      return button;
    });
    const press = (chosen) => buttons.forEach((one) => { one.ariaPressed = String(one === chosen); });
    const own = element("input", { type: "file", accept: "image/*" });
    own.addEventListener("change", async () => {
      const [file] = own.files;
      if (!file) return;
      try {
        use(...await read(file, data));
        press();
      } catch (error) {
        state.complain(error.message);
      }
      own.value = "";  // so that the same file can be chosen again
    });

    const start = element("button", { type: "button", className: "md-button md-button--primary" },
      `Start: load ${bytes(data.runtime)}`);
    start.addEventListener("click", async () => {
      const begin = performance.now();
      state.started = start.disabled = true;
      status.textContent = "Loading ...";
      await Promise.all(sides.map((one) => one.show()));
      warm = true;
      const measure = performance.measure("playground: start", { start: begin });
      start.hidden = message.hidden;
      status.textContent = message.hidden
        ? `ONNX Runtime Web and two networks were loaded in ${milliseconds(measure.duration)}. `
          + "Point at a photograph, or use the arrow keys on it." : "";
    });

    const choices = element("div", { className: "playground-photographs", role: "group", ariaLabel: "Photograph" },
      ...buttons, element("label", {}, "A picture of your own: ", own));
    box.replaceChildren(choices, message, element("p", {}, start, status),
      element("div", { className: "playground-sides" }, ...sides.map((one) => one.box)));
    buttons[0].click();
  };

  const begin = async (box) => {
    try {
      await build(box);
    } catch (error) {
      box.replaceChildren(element("p", { className: "playground-message", role: "alert" },
        `The playground could not be loaded: ${error.message}. It needs a server: it does not open from a file.`));
    }
  };
  document.querySelectorAll(".playground").forEach(begin);

  return { network, run, numbers };
})();
