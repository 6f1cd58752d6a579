"""The files that training writes and the service reads: the only part of ``app`` that ``training`` may import."""
