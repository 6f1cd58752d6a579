"""The models/ directory: which versions exist, what each model's policy is, and the golden gate."""
