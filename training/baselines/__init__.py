"""Classical methods of scikit-learn next to a classifier: the same rows, the same split."""
