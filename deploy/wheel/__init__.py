"""The wheel ``atelier-serving``: how it is built from the folders app/ and training/."""
