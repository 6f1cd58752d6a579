"""Rules and descriptions shared by REST and gRPC: metadata of the service, and who may change it."""
