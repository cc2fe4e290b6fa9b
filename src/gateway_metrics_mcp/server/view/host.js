// The conversation with the host, and what is shown of an answer.

const META = "gateway-metrics/view";
const VERSION = "2026-01-26";
const STYLE = /^--(color|font-sans)/;

const state = {
  isGreeted: false,
  panels: [],
  title: "",
  hidden: new Set(),
  isTable: false,
  width: 0,
  context: {},
};

function post(message) {
  window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
}

function colourOf(colour) {
  return document.documentElement.dataset.theme === "dark" ? (DARK[colour] ?? colour) : colour;
}

function draw() {
  const charts = byId("charts");
  const width = Math.max(charts.clientWidth || byId("legend").clientWidth, 280);
  const focused = [...charts.children].indexOf(document.activeElement);
  byId("tip").hidden = true;
  showLegend(state.panels, state.hidden, colourOf, draw);
  const svgs = state.panels.map((panel) => {
    const shown = panel.series.filter((series) => !state.hidden.has(series.name));
    const paint = panel.isLine ? drawLines : drawBars;
    const drawn = paint(panel, shown, width, colourOf, state.title);
    makeReadable(drawn, panel, shown, colourOf);
    return drawn.svg;
  });
  charts.replaceChildren(...svgs);
  if (focused >= 0) svgs[focused]?.focus();
  showTables(state.panels, state.hidden);
  charts.hidden = state.isTable;
  byId("tables").hidden = !state.isTable;
  byId("toggle").setAttribute("aria-pressed", state.isTable);
}

function showAnswer(result) {
  const specification = result?._meta?.[META];
  const text = byId("text");
  text.hidden = Boolean(specification);
  byId("toggle").hidden = !specification;
  state.panels = [];
  state.hidden = new Set();
  if (!specification) {
    const texts = (result?.content ?? []).filter((block) => block.type === "text");
    text.textContent = texts.map((block) => block.text).join("\n");
    byId("title").textContent = result?.isError ? "No answer" : "Answer";
    byId("subtitle").replaceChildren();
  } else {
    state.panels = readPanels(specification);
    state.title = specification.title.text;
    byId("title").textContent = state.title;
    byId("subtitle").replaceChildren(
      ...specification.title.subtitle.map((line) => element("div", line)),
    );
  }
  draw();
}

function follow(context) {
  state.context = { ...state.context, ...context };
  const root = document.documentElement;
  const isDark = state.context.theme
    ? state.context.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "dark" : "light";
  for (const [name, value] of Object.entries(state.context.styles?.variables ?? {})) {
    // A value that names an address is none of a colour or a font.
    const isPlain = typeof value === "string" && !/url|image/i.test(value);
    if (STYLE.test(name) && isPlain) root.style.setProperty(name, value);
  }
  if (state.panels.length) draw();
}

const heard = {
  "ui/notifications/tool-result": showAnswer,
  "ui/notifications/host-context-changed": follow,
  "ui/notifications/tool-cancelled": () => {
    byId("title").textContent = "The question was cancelled";
  },
};
const answered = new Set(["ping", "ui/resource-teardown"]);

function hear(event) {
  const message = event.data;
  if (event.source !== window.parent || message?.jsonrpc !== "2.0") return;
  if (message.method === undefined) {
    if (message.id !== 1) return;
    follow(message.result?.hostContext ?? {});
    post({ method: "ui/notifications/initialized", params: {} });
    state.isGreeted = true;
    tellSize();
  } else if (message.id === undefined) {
    heard[message.method]?.(message.params ?? {});
  } else if (answered.has(message.method)) {
    post({ id: message.id, result: {} });
  } else {
    post({ id: message.id, error: { code: -32601, message: "Method not found" } });
  }
}

function tellSize() {
  if (!state.isGreeted) return;
  const { width, height } = document.querySelector("main").getBoundingClientRect();
  const size = { width: Math.ceil(width), height: Math.ceil(height) };
  post({ method: "ui/notifications/size-changed", params: size });
  if (size.width !== state.width && state.panels.length) draw();
  state.width = size.width;
}

byId("toggle").addEventListener("click", () => {
  state.isTable = !state.isTable;
  draw();
});
window.addEventListener("message", hear);
new ResizeObserver(tellSize).observe(document.querySelector("main"));
follow({});
post({
  id: 1,
  method: "ui/initialize",
  params: {
    protocolVersion: VERSION,
    appInfo: { name: "gateway-metrics", version: "1" },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
  },
});
