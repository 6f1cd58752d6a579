"""Copies of models from storage on other machines: S3, Google Cloud, the Hugging Face hub, a web server."""
