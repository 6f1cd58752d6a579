"""The models directory: which versions exist, and what the policy of each model is."""
