// Saves a figure as SVG or PNG, as the page shows it at the moment; nothing is sent or fetched.

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
// Replaces colours of the style sheet by their values, so that the file does not need it.
const plainColours = (text) => text.replaceAll(/var\((--[a-z]+)\)/g, (_, name) => colour(name)).replaceAll("currentColor", colour("--ink"));
const svgOf = (width, height, body, view = `0 0 ${width} ${height}`) => `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="${view}">${body}</svg>\n`;

// A figure that is an SVG element, with its background.
function svgOfDrawing(svg) {
  const { x, y, width, height } = svg.viewBox.baseVal, copy = svg.cloneNode(true);
  for (const [name, value] of Object.entries({ x, y, width, height })) copy.setAttribute(name, value);
  const ground = `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="var(--card)"/>`;
  return plainColours(svgOf(width, height, ground + new XMLSerializer().serializeToString(copy), `${x} ${y} ${width} ${height}`));
}

// A figure of canvases and text: curves as paths, heat maps as images with one pixel per value, text as text.
function svgOfFigure(figure) {
  const whole = figure.getBoundingClientRect(), parts = [], margin = 6;
  let right = whole.left, bottom = whole.top; // of the visible parts
  const box = (element) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    [right, bottom] = [Math.max(right, left + width), Math.max(bottom, top + height)];
    return { x: left - whole.left, y: top - whole.top, width, height };
  };
  const rect = ({ x, y, width, height }, style) => width && height && parts.push(`<rect x="${x}" y="${y}" width="${width}" height="${height}" ${style}/>`);
  for (const canvas of figure.querySelectorAll("canvas")) {
    const { x, y, width, height } = box(canvas);
    if (!width || !height) continue;
    if (canvas.vector) parts.push(`<g transform="translate(${x} ${y})">${canvas.vector(width, height)}</g>`);
    else parts.push(`<image x="${x}" y="${y}" width="${width}" height="${height}" preserveAspectRatio="none" style="image-rendering: pixelated" href="${canvas.toDataURL()}"/>`);
  }
  for (const holder of figure.querySelectorAll(".holder, .strip, .plot")) rect(box(holder), 'fill="none" stroke="var(--line)"');
  for (const cursor of figure.querySelectorAll(".cursor")) rect(box(cursor), 'fill="currentColor" fill-opacity="0.75"');
  for (const moment of figure.querySelectorAll(".moment:not([hidden])")) rect(box(moment), 'fill="var(--vermillion)"');
  for (const swatch of figure.querySelectorAll(".legend i")) rect(box(swatch), `fill="${getComputedStyle(swatch).backgroundColor}"`);
  for (const bar of figure.querySelectorAll(".scale i")) {
    const stops = isDark() ? STOPS.dark : STOPS.light;
    parts.push(`<linearGradient id="scale">${stops.map((stop, k) => `<stop offset="${k / (stops.length - 1)}" stop-color="rgb(${stop.join(",")})"/>`).join("")}</linearGradient>`);
    rect(box(bar), 'fill="url(#scale)"');
  }
  const words = wordsOf(figure, whole);
  for (const word of words) [right, bottom] = [Math.max(right, word.right), Math.max(bottom, word.bottom)];
  const [width, height] = [right - whole.left, bottom - whole.top].map((side) => Math.ceil(side) + 2 * margin);
  const ground = `<rect x="${-margin}" y="${-margin}" width="${width}" height="${height}" fill="var(--card)"/>`;
  return plainColours(svgOf(width, height, [ground, ...parts, ...words.map((word) => word.text)].join("\n"), `${-margin} ${-margin} ${width} ${height}`));
}

// Every word at its position and with its width, so that other fonts do not change the layout.
function wordsOf(figure, whole) {
  const found = [], range = document.createRange();
  const walker = document.createTreeWalker(figure, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (parent.closest(".save, [hidden]")) continue;
    const style = getComputedStyle(parent), upright = style.writingMode === "horizontal-tb";
    for (const match of node.data.matchAll(/\S+/g)) {
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      const { left, right, top, bottom, width, height } = range.getBoundingClientRect();
      if (!width || !height) continue;
      const [x, y] = upright ? [left, top + 0.8 * height] : [right - 0.2 * width, bottom];
      const place = `x="${x - whole.left}" y="${y - whole.top}"${upright ? "" : ` transform="rotate(-90 ${x - whole.left} ${y - whole.top})"`}`;
      const font = `font-family="${escaped(style.fontFamily)}" font-size="${style.fontSize}" font-weight="${style.fontWeight}" fill="${style.color}"`;
      const text = `<text ${place} ${font} textLength="${upright ? width : height}" lengthAdjust="spacingAndGlyphs">${escaped(match[0])}</text>`;
      found.push({ text, right, bottom });
    }
  }
  return found;
}

async function pngOf(svg, scale = 3) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = make("canvas", { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function download(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Adds two buttons below a figure. The file is named by `name` and, if the figure changes, `moment`; `svg` makes its content.
function savable(figure, name, svg, moment = () => "") {
  const button = (kind) => {
    const made = make("button", { type: "button", textContent: kind });
    made.setAttribute("aria-label", `Save ${name} as ${kind}`);
    made.addEventListener("click", async () => {
      const picture = svg(), file = `${name} ${moment()}`.trim().replaceAll(/[^A-Za-z0-9.+-]+/g, "-");
      download(`${file}.${kind.toLowerCase()}`, kind === "SVG" ? new Blob([picture], { type: "image/svg+xml" }) : await pngOf(picture));
    });
    return made;
  };
  figure.append(make("div", { className: "save" }, "save as ", button("SVG"), " ", button("PNG")));
}

for (const svg of document.querySelectorAll("figure > svg")) {
  const figure = svg.closest("figure"), section = figure.closest("section").id, about = figure.querySelector("figcaption b");
  savable(figure, about ? `${section} ${about.textContent}` : section, () => svgOfDrawing(svg));
}
