"""Who evaluates a generation: this process, other processes, other machines, all behind one protocol and with the same bits."""

from nchl.workers.base import Recipe as Recipe
from nchl.workers.base import Workers as Workers
from nchl.workers.cluster import cluster_workers as cluster_workers
from nchl.workers.local import LocalWorkers as LocalWorkers
from nchl.workers.remote import process_workers as process_workers
