"""The definition of one published model, or of one lesson, as plain fields."""
