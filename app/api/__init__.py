"""FastAPI routers for everything that is not inference: health, model status, metrics, documentation."""
