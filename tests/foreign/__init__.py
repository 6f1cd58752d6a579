"""Real graphs that other projects publish, served unchanged; not part of the suite, see ``__main__``."""
