"""The promises a person looks for, a module for each subject. May import the machinery beside this folder, wire and records."""
