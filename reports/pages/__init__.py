"""The forms of a report: HTML, Markdown, CSV, and the files beside them."""
