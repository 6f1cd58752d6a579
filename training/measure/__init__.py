"""How well a model does, and how that is told: figures, pictures, report, card."""
