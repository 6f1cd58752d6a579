"""Atelier beside other model servers: one machine, one run, ratios to a server that does nothing.

``samples`` makes the inputs, ``forms`` writes them as each server wants them, ``servers`` says how each is started,
``environments`` installs the peers, ``workloads`` says what is measured and what it should come to, ``run`` measures,
``summary`` makes ratios of it, ``report`` and ``chart`` show them.
"""
