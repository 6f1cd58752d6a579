"""One module for each library that saves models: what it says of itself, its answers, and the formats made of it."""
