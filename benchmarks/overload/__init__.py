"""More requests than a model can answer, in an open loop: answers, refusals, and their latencies."""
