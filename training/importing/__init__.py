"""Makes verified versions of models that other tools trained."""
