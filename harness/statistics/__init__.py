"""Pure statistics on samples: percentiles, intervals, rates, summary rows."""
