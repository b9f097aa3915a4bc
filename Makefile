# Two commands do all the set-up on a fresh machine:
#   make demo   evolve a network that rewires itself on CartPole, and show what it can do
#   make test   install everything the tests need, and run the fast ones
# Each makes its own virtual environment, and skips what is already done.
#
# TORCH is the requirement pip gets for torch. On Linux a bare `torch` is the CUDA build (several gigabytes); for the small CPU build:
#   make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch>=2.6
SEED ?= 0
# Processes that share the fast tests; 0: pytest alone, without pytest-xdist.
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO := runs/demo-$(shell date +%Y%m%d-%H%M%S)

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint types docs examples check

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo ## Evolve a plastic network on CartPole, then score it on starts it never saw
	$(BIN)/nchl evolve CartPole-v1 --network nchl --hidden 10 --population 200 --generations 100 --target 475 --seed $(SEED) --out $(DEMO)
	$(BIN)/nchl evaluate $(DEMO) --controls
	@printf '\nThe run is in %s (config.json, metrics.csv, best.safetensors, tensorboard/).\n' "$(DEMO)"
	@printf 'Try next:\n  . $(BIN)/activate\n  pip install --editable '"'.[report]'"' && nchl report $(DEMO)\n  nchl evolve HalfCheetah-v5 --normalise max --strategy pgpe\n  nchl tasks\n  nchl doctor\n'

test: $(VENV)/.test ## Run the fast tests, in JOBS processes
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

slow: $(VENV)/.test ## Run the slow tests; TESTS chooses among them
	$(BIN)/python -m pytest -m slow $(TESTS)

lint: $(VENV)/.test ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test ## Check types
	$(BIN)/mypy

docs: $(VENV)/.test ## Build the documentation into site/; warnings are errors
	$(BIN)/mkdocs build --strict --quiet

examples: $(VENV)/.test ## Run every example, the notebook included
	$(BIN)/python examples/own_rule.py
	$(BIN)/python examples/own_network.py
	$(BIN)/python examples/memory_rules.py
	$(BIN)/python examples/gradient.py
	$(BIN)/jupyter execute examples/sample.ipynb

check: lint types test slow docs examples ## All that continuous integration runs

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) '$(firstword $(TORCH))' $(wordlist 2,99,$(TORCH))
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) --editable '.[sim]'
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(PIP) --editable '.[sim,bullet,vision,cluster,report,tracking,warp,dev]'
	@touch $@ $(VENV)/.demo
