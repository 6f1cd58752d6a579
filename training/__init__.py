"""From data to a published model version: recipes, data sets, training, evaluation, export."""
