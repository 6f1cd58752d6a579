"""Open Inference Protocol V2 over gRPC. Nothing here is imported before --grpc-port asks for it."""
