"""A network as a graph: groups and edges, their tensors, and one step over them as pure functions."""
