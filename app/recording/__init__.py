"""Records requests and takes the right answers later. Off unless serving.json of a model has ``recording``."""
