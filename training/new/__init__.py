"""``training new``: looks at data of your own, says what it found, and writes a recipe that runs."""
