"""What a person sees of a benchmark: live view, table, details, web page."""
