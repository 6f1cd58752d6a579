"""Commands of the benchmarks: each measures, prints a table and writes a result."""
