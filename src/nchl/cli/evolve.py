"""Evolve the rules of a plastic network on a task.

Ctrl-C finishes the generation, writes it, and says how to go on; a second Ctrl-C drops the generation. A run that was killed
goes on with `nchl resume` and ends with the same bits as one that was not.
"""
