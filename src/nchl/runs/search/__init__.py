"""From settings and objects to a search: task, network, strategy, and the loop over them."""
