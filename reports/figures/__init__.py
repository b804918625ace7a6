"""Figures of a report, one module each, all in one style. Drawn with matplotlib (Agg and SVG, no pyplot), byte-stable for equal input."""
