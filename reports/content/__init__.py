"""What a report says, apart from its form: evidence read from run folders, comparison, findings, words."""
