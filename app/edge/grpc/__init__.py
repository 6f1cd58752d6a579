"""Open Inference Protocol V2 over gRPC. This package is imported only with --grpc-port."""
