"""What training writes and the service reads: the one part of ``app`` that ``training`` may import."""
