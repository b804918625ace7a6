"""Every fault against every rule: mocks run in this process or over sockets, and the kill matrix. May import check, rules, wire, runs; mocks by name only."""
