"""What a check sends: probes of rules, schema cases, mutations, and the plan that orders and prices them. Sends nothing."""
