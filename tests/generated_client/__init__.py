"""A client generated from the OpenAPI document; not part of the suite, see ``__main__``."""
