"""What is done to a service, one subject a file."""
