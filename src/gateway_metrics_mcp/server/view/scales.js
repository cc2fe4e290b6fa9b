// What a specification says, read into panels; scales and the labels of their ticks.

const DARK = { "#222222": "#EDEDED", "#0072B2": "#3B9BDC", "#009E73": "#1DB98E", "#B5BDC6": "#68727D" };
const SHORT = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];

function readPanels(specification) {
  return specification.vconcat.map((panel) => {
    const isLine = panel.layer[0].mark.type === "line";
    return isLine ? readLines(panel) : readBars(panel);
  });
}

function readLines(panel) {
  const scale = panel.encoding.color.scale;
  const dashes = panel.layer[0].encoding.strokeDash.scale.range;
  const rows = panel.data.values;
  return {
    isLine: true,
    axis: panel.encoding.y.axis,
    placeAxis: panel.encoding.x.axis,
    height: panel.height,
    places: [...new Set(rows.map((row) => row.place))],
    series: scale.domain.map((name, i) => ({
      name,
      colour: scale.range[i],
      dash: dashes[i],
      rows: rows.filter((row) => row.series === name),
    })),
  };
}

function readBars(panel) {
  const { color, y, x, yOffset } = panel.encoding;
  const names = yOffset ? yOffset.scale.domain : [""];
  const rows = panel.data.values;
  return {
    isLine: false,
    axis: x.axis,
    places: y.scale.domain,
    series: names.map((name, i) => ({
      name,
      colour: yOffset ? color.scale.range[i] : color.value,
      rest: yOffset ? undefined : color.condition.value,
      rows: rows.filter((row) => row.series === name),
    })),
  };
}

// A figure stands in one row; a stretch to a partial bucket repeats it without its text.
function figureAt(series, place) {
  return series.rows.find((row) => row.place === place && row.text !== "");
}

function niceTicks(low, high, count) {
  const span = high - low || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

// From zero, so that lengths tell the truth.
function valueScale(panel, shown) {
  const values = shown.flatMap((series) => series.rows.map((row) => row.value)).filter(isNumber);
  const ticks = niceTicks(Math.min(0, ...values), Math.max(0, ...values), 5);
  const low = ticks[0];
  const span = ticks[ticks.length - 1] - low;
  return { ticks, at: (value) => (value - low) / span };
}

function isNumber(value) {
  return typeof value === "number";
}

function trim(number) {
  return String(Number(number.toPrecision(6)));
}

function labelTick(value, axis) {
  if (axis.format === "~%") return `${trim(value * 100)}%`;
  if (axis.format === "~s") {
    const [size, sign] = SHORT.find(([least]) => Math.abs(value) >= least) || [1, ""];
    return trim(value / size) + sign;
  }
  return Number(value.toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 12 });
}

function labelPlace(place) {
  const [date, time] = place.replace("Z", "").split("T");
  return time === "00:00:00" ? date : `${date} ${time.replace(/:00$/, "")}`;
}

function labelTime(place, format) {
  const date = new Date(place);
  const two = (number) => String(number).padStart(2, "0");
  const month = date.toLocaleString("en-US", { month: "short", timeZone: "UTC" });
  const parts = {
    "%Y": date.getUTCFullYear(),
    "%m": two(date.getUTCMonth() + 1),
    "%b": month,
    "%d": two(date.getUTCDate()),
    "%H": two(date.getUTCHours()),
    "%M": two(date.getUTCMinutes()),
    "%S": two(date.getUTCSeconds()),
  };
  return format.replace(/%[YmbdHMS]/g, (name) => parts[name]);
}
