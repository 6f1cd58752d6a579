"""The quality of a model, and its presentation: figures, pictures, report, card."""
