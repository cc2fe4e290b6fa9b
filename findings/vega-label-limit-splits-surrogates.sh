#!/usr/bin/env bash
# Surprise: a labelLimit does not shorten a long label of characters beyond U+FFFF (emoji, rare Han
#   letters): the whole chart fails with an error. Vega cuts text by UTF-16 units while it looks for
#   the length that fits, and the renderer cannot measure half a surrogate pair.
# Versions: vl-convert-python 1.9.0, with the Vega-Lite it brings (6.4), on CPython 3.11.
# Why it matters: one user, team or model name is enough to lose a chart of everyone's figures, and
#   only when it is long: the same name below the limit draws. Cut such labels before Vega sees them
#   and set labelLimit to 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check vl-convert-python==1.9.0
cat >"$folder/draw.py" <<'PY'
import vl_convert

print("vl-convert", vl_convert.__version__, "Vega-Lite", vl_convert.get_vegalite_versions()[-1])


def draw(name: str, limit: int) -> str:
    spec = {
        "data": {"values": [{"team": name, "calls": 28}, {"team": "plain", "calls": 10}]},
        "mark": "bar",
        "encoding": {
            "y": {"field": "team", "type": "nominal", "axis": {"labelLimit": limit}},
            "x": {"field": "calls", "type": "quantitative"},
        },
    }
    try:
        svg = vl_convert.vegalite_to_svg(spec)
    except ValueError as error:
        return "error: " + " ".join(str(error).split())[:110]
    return "drawn, label cut" if "\u2026" in svg else "drawn whole"


results = {}
for label, name in (("letters", "x" * 60), ("rare Han letters", "\U00020000" * 60)):
    for limit in (0, 60):
        results[label, limit] = draw(name, limit)
        print(f"60 {label}, labelLimit {limit}: {results[label, limit]}")
assert results["letters", 60] == "drawn, label cut", results
assert results["rare Han letters", 0] == "drawn whole", results
assert results["rare Han letters", 60].startswith("error"), "the behaviour has changed"
PY
"$folder/venv/bin/python" "$folder/draw.py"
