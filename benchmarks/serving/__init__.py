"""Compares Atelier with other model servers: one machine, one run, ratios to a server that does nothing.

``samples`` makes the inputs, ``forms`` writes them in each server's form, ``servers`` defines how each is started,
``environments`` installs the peers, ``workloads`` defines the measurements and their targets, ``run`` measures,
``summary`` computes ratios, ``report`` and ``chart`` show them.
"""
