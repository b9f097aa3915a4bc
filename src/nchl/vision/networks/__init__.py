"""SoftHebb layers, their activation, and classifiers built of them."""
