"""What recorded exchanges mean: levels, verdicts, waivers, and the contract's line behind a finding. Reads records only."""
