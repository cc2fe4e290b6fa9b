// What can be done with a drawing: read a figure, switch series, turn to the table.

const byId = (id) => document.getElementById(id);

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function swatch(series, colourOf) {
  const made = element("span", undefined, { class: "swatch", "aria-hidden": "true" });
  made.style.borderTopColor = colourOf(series.colour);
  made.style.borderTopStyle = series.dash?.[1] ? "dashed" : "solid";
  return made;
}

function showLegend(panels, hidden, colourOf, redraw) {
  const legend = byId("legend");
  const focused = document.activeElement?.dataset?.series;
  const seen = new Map();
  for (const series of panels.flatMap((panel) => panel.series)) {
    if (series.name && !seen.has(series.name)) seen.set(series.name, series);
  }
  legend.replaceChildren();
  legend.hidden = seen.size === 0;
  for (const [name, series] of seen) {
    const isOn = !hidden.has(name);
    const button = element("button", undefined, { type: "button", "aria-pressed": isOn });
    button.dataset.series = name;
    button.append(swatch(series, colourOf), element("span", name));
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      redraw();
    });
    legend.append(button);
    if (name === focused) button.focus();
  }
}

function showTables(panels, hidden) {
  const tables = panels.map((panel) => {
    const table = element("table");
    table.append(element("caption", panel.axis.title));
    const shown = panel.series.filter((series) => !hidden.has(series.name));
    const head = element("tr");
    head.append(element("th", panel.isLine ? "time" : "group", { scope: "col" }));
    for (const series of shown) {
      head.append(element("th", series.name || panel.axis.title, { scope: "col" }));
    }
    const body = element("tbody");
    for (const place of panel.places) {
      const row = element("tr");
      row.append(element("th", nameOf(panel, place), { scope: "row" }));
      for (const series of shown) row.append(element("td", figureAt(series, place)?.text ?? ""));
      body.append(row);
    }
    const top = element("thead");
    top.append(head);
    table.append(top, body);
    const names = { class: "scroll", tabindex: "0", role: "region", "aria-label": panel.axis.title };
    const scroll = element("div", undefined, names);
    scroll.append(table);
    return scroll;
  });
  byId("tables").replaceChildren(...tables);
}

function nameOf(panel, place) {
  return panel.isLine ? labelPlace(place) : place;
}

// One place of a panel at a time, by pointer or by arrow keys.
function makeReadable(drawn, panel, shown, colourOf) {
  const { svg, box } = drawn;
  let index = -1;
  let cursor = null;
  const hide = () => {
    index = -1;
    cursor?.remove();
    cursor = null;
    byId("tip").hidden = true;
  };
  const show = (i, near) => {
    index = i;
    const place = panel.places[i];
    const figures = shown.map((series) => [series, figureAt(series, place)]);
    const present = figures.filter(([, row]) => row);
    cursor?.remove();
    const x = panel.isLine ? drawn.xOf(place) : box.left;
    const y = panel.isLine ? box.top : box.top + (i + 0.5) * drawn.each;
    const ends = { x1: x, x2: x, y1: box.top, y2: box.bottom };
    cursor = panel.isLine ? add(svg, "line", { class: "cursor", ...ends }) : null;
    fillTip(nameOf(panel, place), present, near, colourOf);
    placeTip(svg, x, y);
  };
  const read = () => {
    byId("status").textContent = byId("tip").innerText.replace(/\n+/g, ", ");
  };
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(
      svg.getScreenCTM().inverse(),
    );
    const i = panel.isLine ? nearestPlace(panel, drawn, at.x) : Math.floor((at.y - box.top) / drawn.each);
    if (i < 0 || i >= panel.places.length || at.y > box.bottom + 4) return hide();
    show(i, panel.isLine ? nearestSeries(panel, drawn, shown, i, at.y) : null);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const last = panel.places.length - 1;
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key === "Escape") return hide();
    let next = index + (steps[event.key] ?? 0);
    if (event.key === "Home") next = 0;
    else if (event.key === "End") next = last;
    else if (!(event.key in steps)) return;
    event.preventDefault();
    show(Math.min(Math.max(next, 0), last), null);
    read();
  });
}

function nearestPlace(panel, drawn, x) {
  const gaps = panel.places.map((place) => Math.abs(drawn.xOf(place) - x));
  return gaps.indexOf(Math.min(...gaps));
}

function nearestSeries(panel, drawn, shown, i, y) {
  let best = null;
  let least = Infinity;
  for (const series of shown) {
    const row = figureAt(series, panel.places[i]);
    if (!row || !isNumber(row.value)) continue;
    const gap = Math.abs(drawn.yOf(row.value) - y);
    if (gap < least) [best, least] = [series.name, gap];
  }
  return best;
}

function fillTip(title, figures, near, colourOf) {
  const lines = figures.map(([series, row]) => {
    const line = element("div", undefined, { class: series.name === near ? "near" : "" });
    if (series.name) line.append(swatch(series, colourOf), element("span", series.name));
    line.append(element("b", row.part === "partial" ? `${row.text} (partial)` : row.text));
    return line;
  });
  byId("tip").replaceChildren(element("div", title), ...lines);
}

function placeTip(svg, x, y) {
  const tip = byId("tip");
  tip.hidden = false;
  const frame = svg.parentNode.parentNode.getBoundingClientRect();
  const drawing = svg.getBoundingClientRect();
  const scale = drawing.width / svg.viewBox.baseVal.width;
  let left = drawing.left - frame.left + x * scale + 14;
  if (left + tip.offsetWidth > frame.width - 8) left -= tip.offsetWidth + 28;
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${Math.max(drawing.top - frame.top + y * scale, 4)}px`;
}
