"""Rules and descriptions shared by REST and gRPC: metadata of the service, and access to admin calls."""
