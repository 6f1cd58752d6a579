"""Which versions are loaded, checked, served and retired, and in which order."""
