"""A service under mixed load, reloads, canary moves and bad requests for a long time: does any figure grow?"""
