"""What makes one published model, or one lesson, as plain fields."""
