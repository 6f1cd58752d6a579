"""One module for each library that saves models: its facts, its answers, and conversions to the served formats."""
