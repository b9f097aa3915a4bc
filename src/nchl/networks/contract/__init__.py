"""Checks that a network keeps the contract of `PlasticNetwork`."""
