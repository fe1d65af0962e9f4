"""Each answer of root cause analysis as a page; a module for each question."""
