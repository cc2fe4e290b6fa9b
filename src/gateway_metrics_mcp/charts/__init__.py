"""Pictures of answers: what is drawn, its Vega-Lite specification, and the drawing."""
