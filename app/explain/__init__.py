"""Why a model answers as it does: how its answer changes when parts of the input are hidden. ``explainer`` first."""
