"""Plastic networks as `nn.Module`s: they own sizes, weights and genome, and call the rules."""
