"""Search for better settings of a recipe: its space, the trials, and what they found."""
