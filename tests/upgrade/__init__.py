"""To a new release and back, with the models, settings and recordings of an older one; see ``__main__``."""
