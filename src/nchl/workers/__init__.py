"""Evaluation of generations in this process, in other processes or on other machines, with the same bits everywhere."""

from nchl.workers.base import Recipe as Recipe
from nchl.workers.base import Workers as Workers
from nchl.workers.cluster import cluster_workers as cluster_workers
from nchl.workers.local import LocalWorkers as LocalWorkers
from nchl.workers.remote import process_workers as process_workers
