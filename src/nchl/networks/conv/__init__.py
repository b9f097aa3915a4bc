"""Convolutional networks: a graph from an `nn.Sequential`, and the published networks."""
