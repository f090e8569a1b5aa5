// What can be wrong with a page in a browser: sentences, none if all is well. And what has focus.
const beginning = (one) => one.outerHTML.slice(0, 80);

globalThis.checks = {
  // Wider than the window: the page, or an element outside a box that scrolls.
  overflow() {
    const wide = document.documentElement.scrollWidth;
    const scrolls = (one) => one
      && (/auto|scroll/.test(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
    const outside = [...document.querySelectorAll("article *")].filter((one) => {
      const { left, right, width } = one.getBoundingClientRect();
      return width > 1 && (left < -1 || right > innerWidth + 1) && !scrolls(one.parentElement);
    });
    return [
      ...(wide > innerWidth ? [`${wide} of ${innerWidth} pixels wide`] : []),
      ...outside.map((one) => `cut off: ${beginning(one)}`),
    ];
  },

  // Content that is wider than its box, which has no scroll bar, or none that shows.
  clipped() {
    return [...document.querySelectorAll("article *")].filter((one) => {
      const { overflowX, display } = getComputedStyle(one);
      if (overflowX === "visible" || display === "inline" || !one.clientWidth) return false;
      if (one.scrollWidth <= one.clientWidth + 1 || !one.checkVisibility()) return false;
      const bar = one.offsetHeight - one.clientHeight;
      return !(/auto|scroll/.test(overflowX) && bar > 3);
    }).map((one) => `clipped: ${beginning(one)}`);
  },

  // Identifiers, and numbers such as 1e-5, that are broken over two lines.
  broken() {
    const found = [], identifier = /[A-Za-z_]\w{2,}/g, number = /\d[\d.]*e-\d+/g;
    const texts = [...document.querySelectorAll("article :not(pre) > code")]
      .map((code) => [code, identifier]);
    for (const [whole, words] of [...texts, [document.querySelector("article"), number]]) {
      const walk = document.createTreeWalker(whole, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        for (const word of walk.currentNode.data.matchAll(words)) {
          const range = document.createRange();
          range.setStart(walk.currentNode, word.index);
          range.setEnd(walk.currentNode, word.index + word[0].length);
          const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
          if (lines.size > 1) found.push(`broken: ${word[0]}`);
        }
      }
    }
    return found;
  },

  // Formulas, drawings and pictures without a place on the screen.
  invisible() {
    return [...document.querySelectorAll("article :is(math, svg, img)")].filter((one) => {
      const { width, height } = one.getBoundingClientRect();
      const empty = one.tagName === "IMG" && !(one.complete && one.naturalWidth);
      return empty || !width || !height || !one.checkVisibility({ visibilityProperty: true });
    }).map((one) => `invisible: ${beginning(one)}`);
  },

  // Formulas, drawings and filters that hardly differ from what lies behind them: less than WCAG's
  // 4.5 for letters, and 3 for lines.
  pale() {
    const pixel = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
      .getContext("2d", { willReadFrequently: true });
    const light = (colours) => {  // of colours laid one over the other
      for (const colour of colours) {
        pixel.fillStyle = colour;
        pixel.fillRect(0, 0, 1, 1);
      }
      const [red, green, blue] = [...pixel.getImageData(0, 0, 1, 1).data]
        .map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
    };
    const behind = (one) => one
      ? [...behind(one.parentElement), getComputedStyle(one).backgroundColor] : ["white"];
    const contrast = (one, property) => {
      const back = behind(one);
      const [under, over] = [light(back), light([...back, getComputedStyle(one)[property]])];
      return Math.max(under, over) / Math.min(under, over);
    };
    return [
      ["math :is(mi, mn, mo, mtext), #filters > *", "color", 4.5],
      [".flow text", "fill", 4.5],
      [".flow .line", "stroke", 3],
      [".flow .head", "fill", 3],
      [".chart text, .costs :is(span, dt, dd, p:not([hidden]))", "color", 4.5],
      [".playground :is(label, output, span, p:not([hidden])), .eight > *", "color", 4.5],
      [".legend path, .chart:not([data-key]) [aria-label=dot] path", "fill", 3],
      [".chart [aria-label=line] path", "stroke", 3],
    ].flatMap(([marks, property, least]) => [...document.querySelectorAll(marks)]
      .map((one) => [contrast(one, property), one])
      .filter(([found]) => found < least)
      .map(([found, one]) => `contrast ${found.toFixed(1)}: ${beginning(one)}`));
  },

  // Pictures, drawings, links and fields of which a screen reader could say nothing.
  nameless() {
    const named = (one) => one.getAttribute("alt") || one.ariaLabel || one.title
      || one.labels?.length || one.textContent.trim() || one.querySelector("[alt], [aria-label]");
    const drawn = (one) => /^(img|group)$/.test(one.role) && (one.ariaLabel || one.querySelector("title"));
    const fields = "button:not([aria-hidden=true]), select, input:not([type=checkbox], [type=radio])";
    return [
      ...[...document.querySelectorAll("article svg:not([aria-hidden=true])")]
        .filter((one) => !drawn(one)),
      ...[...document.querySelectorAll(`img, a[href], ${fields}`)].filter((one) => !named(one)),
    ].map((one) => `nameless: ${beginning(one)}`);
  },

  // The element that has the keyboard, whether a ring shows so, and whether it is on the screen.
  focus() {
    const one = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(one);
    const { width, height, top, bottom, left, right } = one.getBoundingClientRect();
    return {
      name: one.ariaLabel || one.textContent.trim(),
      ring: outlineStyle !== "none" && parseFloat(outlineWidth) > 0,
      inside: width > 0 && height > 0 && top >= 0 && left >= 0 && bottom <= innerHeight
        && right <= innerWidth,
    };
  },
};
