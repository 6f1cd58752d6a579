"""Real graphs that other projects publish, served as they are; not part of the suite, see ``__main__``."""
