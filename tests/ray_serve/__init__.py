"""The application of Ray Serve on a local cluster of several node processes; ``make test-ray`` runs it."""
