"""Jinja templates, the stylesheet and the script of report.html. No Python lives here."""
