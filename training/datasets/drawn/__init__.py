"""Instances drawn and written for this project; nothing here is from a data set."""
