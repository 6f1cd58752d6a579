"""Pages about training runs: one self-contained HTML file each."""
