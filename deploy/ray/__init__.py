"""The service as an application of Ray Serve, and bulk scoring with Ray Data."""
