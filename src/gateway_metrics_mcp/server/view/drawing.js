// Panels as SVG. Text goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const LETTER = 6.6;

function add(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function startSvg(width, height, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.setAttribute("role", "img");
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("aria-label", label);
  return svg;
}

function drawLines(panel, shown, width, colourOf, title) {
  const box = { left: 64, right: width - 12, top: 10, bottom: panel.height + 10 };
  const hint = "arrow keys read the values, or show the table";
  const svg = startSvg(width, box.bottom + 44, `${title}: lines of ${panel.axis.title}; ${hint}`);
  const scale = valueScale(panel, shown);
  const times = panel.places.map(Date.parse);
  const span = times[times.length - 1] - times[0];
  const xOf = (place) => {
    const part = span ? (Date.parse(place) - times[0]) / span : 0.5;
    return box.left + part * (box.right - box.left);
  };
  const yOf = (value) => box.bottom - scale.at(value) * (box.bottom - box.top);
  drawValueAxis(svg, panel, scale, box, yOf);
  drawTimeAxis(svg, panel, box, xOf);
  for (const series of shown) drawLine(svg, series, xOf, yOf, colourOf(series.colour));
  return { svg, box, xOf, yOf };
}

function drawValueAxis(svg, panel, scale, box, yOf) {
  for (const tick of scale.ticks) {
    const y = yOf(tick);
    add(svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: y, y2: y });
    const at = { x: box.left - 6, y: y + 4, "text-anchor": "end" };
    add(svg, "text", at, labelTick(tick, panel.axis));
  }
  const turn = `translate(13 ${(box.top + box.bottom) / 2}) rotate(-90)`;
  const title = fit(panel.axis.title, box.bottom - box.top + 24);
  add(svg, "text", { class: "soft", transform: turn, "text-anchor": "middle" }, title);
}

function drawTimeAxis(svg, panel, box, xOf) {
  const { values, format, title } = panel.placeAxis;
  const bottom = box.bottom;
  add(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: bottom, y2: bottom });
  let end = -Infinity;
  for (const place of values) {
    const label = labelTime(place, format);
    const half = (label.length * LETTER) / 2;
    const x = Math.min(Math.max(xOf(place), box.left + half - 20), box.right - half + 10);
    if (x - half < end + 8) continue;
    end = x + half;
    add(svg, "text", { x, y: bottom + 17, "text-anchor": "middle" }, label);
  }
  const middle = (box.left + box.right) / 2;
  const at = { class: "soft", x: middle, y: bottom + 36, "text-anchor": "middle" };
  if (title) add(svg, "text", at, title);
}

function drawLine(svg, series, xOf, yOf, colour) {
  for (const part of ["whole", "partial"]) {
    let path = "";
    let isOpen = false;
    for (const row of series.rows) {
      if (row.part !== part) {
        // The other part goes on here; a stretch is never drawn across it.
        if (part === "partial") isOpen = false;
        continue;
      }
      const isThere = isNumber(row.value);
      if (isThere) path += `${isOpen ? "L" : "M"}${xOf(row.place)},${yOf(row.value)}`;
      isOpen = isThere;
    }
    const dash = part === "partial" ? "2 3" : series.dash.join(" ");
    const look = { fill: "none", stroke: colour, "stroke-width": 2.25, "stroke-linejoin": "round" };
    if (path) add(svg, "path", { ...look, d: path, "stroke-dasharray": dash, class: "line" });
  }
  for (const row of series.rows.filter((one) => one.dot)) {
    add(svg, "circle", { cx: xOf(row.place), cy: yOf(row.value), r: 3, fill: colour });
  }
}

function drawBars(panel, shown, width, colourOf, title) {
  const each = shown.length > 1 ? 44 : 27;
  const rows = shown.flatMap((series) => series.rows);
  const widest = (texts) => Math.max(0, ...texts.map((text) => text.length)) * LETTER;
  const left = Math.min(widest(panel.places) + 20, width * 0.42);
  const right = width - Math.min(widest(rows.map((row) => row.label)) + 14, width * 0.3);
  const box = { left, right, top: 8, bottom: 8 + panel.places.length * each };
  const hint = "arrow keys read the values, or show the table";
  const svg = startSvg(width, box.bottom + 42, `${title}: bars of ${panel.axis.title}; ${hint}`);
  const scale = valueScale(panel, shown);
  const xOf = (value) => box.left + scale.at(value) * (box.right - box.left);
  for (const tick of scale.ticks) {
    const x = xOf(tick);
    add(svg, "line", { class: "grid", x1: x, x2: x, y1: box.top, y2: box.bottom });
    const at = { x, y: box.bottom + 16, "text-anchor": "middle" };
    add(svg, "text", at, labelTick(tick, panel.axis));
  }
  const middle = { x: (left + right) / 2, y: box.bottom + 36, "text-anchor": "middle" };
  add(svg, "text", { class: "soft", ...middle }, panel.axis.title);
  panel.places.forEach((place, i) => {
    const top = box.top + i * each;
    const at = { x: left - 7, y: top + each / 2 + 4, "text-anchor": "end" };
    add(svg, "text", at, fit(place, left - 12));
    drawGroup(svg, shown, place, { top, each, zero: xOf(0), xOf }, colourOf);
  });
  return { svg, box, each };
}

function drawGroup(svg, shown, place, { top, each, zero, xOf }, colourOf) {
  const height = (each * 0.76) / Math.max(shown.length, 1);
  shown.forEach((series, j) => {
    const row = figureAt(series, place);
    if (!row) return;
    const y = top + each * 0.12 + j * height;
    const end = isNumber(row.value) ? xOf(row.value) : zero;
    const fill = colourOf(row.rest ? series.rest : series.colour);
    const size = { x: Math.min(zero, end), y, width: Math.abs(end - zero), height, fill };
    add(svg, "rect", { ...size, class: "bar" });
    add(svg, "text", { x: Math.max(zero, end) + 5, y: y + height / 2 + 4 }, row.label);
  });
}

// Names are cut in their middle: they differ at their ends, where titles have their unit.
function fit(text, width) {
  const most = Math.max(Math.floor(width / LETTER), 5);
  if (text.length <= most) return text;
  const tail = Math.floor((most - 1) / 2);
  return `${text.slice(0, most - 1 - tail)}…${text.slice(text.length - tail)}`;
}
