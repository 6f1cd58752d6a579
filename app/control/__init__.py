"""What REST and gRPC both say of the service, and whom they let change it."""
