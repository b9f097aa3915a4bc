"""Figures by matplotlib. Each function draws on the Axes that it is given and returns it."""
