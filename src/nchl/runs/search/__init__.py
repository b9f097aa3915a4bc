"""From settings and objects to a search: the task, the network, the strategy and the loop over them."""
