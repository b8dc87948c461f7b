# Two commands do it all: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
ARGS ?=

VENV := .venv
ENTER := . $(VENV)/bin/activate &&

.DEFAULT_GOAL := help
.PHONY: help run watch chat verify test bench gpu-check docs dist lint lock clean

help: ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18
	@echo "Arguments go in ARGS: make run ARGS=\"--configfile config/examples/x.yaml\""

# With SNAKEMAKE_OUTPUT_CACHE set to a folder, earlier results come back from there. Options follow
# --cache at once: it would take names that follow it, as in ARGS=partitions, for its own.
# A run that was killed leaves Snakemake's lock and our .running behind; the next one clears both.
# A run prints a line per job; a dry run also prints the reasons.
BRIEF = $(if $(filter -n --dry-run --dryrun,$(ARGS)),,--quiet host reason)

# Snakemake takes all names between --configfile and the next option for configuration files.
define CHECK_CONFIG_FILES
set -- $(ARGS); after=; for word; do case $$word in \
	--configfile|--configfiles) after=$$word ;; \
	-*) after= ;; \
	*.yaml|*.yml|*.json) ;; \
	*) [ -z "$$after" ] || { printf '%s\n' "error: $$after takes all names after it for configuration files, and '$$word' is none" \
		"  hint: a target goes first: make run ARGS=\"$$word $$after FILE\"" >&2; exit 1; } ;; \
	esac; done
endef

run: $(VENV)/.locked ## Builds everything that config/config.yaml asks for
	@$(CHECK_CONFIG_FILES)
	@exec 9>$(VENV)/.lock; flock --wait 15 9 || { echo "error: another make run is at work here" >&2; exit 1; }; \
	$(ENTER) if [ -e $(VENV)/.running ]; then snakemake --unlock; fi 2>/dev/null; touch $(VENV)/.running; \
	if [ "$$SNAKEMAKE_OUTPUT_CACHE" ]; then mkdir -p "$$SNAKEMAKE_OUTPUT_CACHE"; SNAKEMAKE_OUTPUT_CACHE=$$(realpath "$$SNAKEMAKE_OUTPUT_CACHE"); fi; \
	snakemake $${SNAKEMAKE_OUTPUT_CACHE:+--cache} $(BRIEF) --cores all $(ARGS); status=$$?; [ $$status -ge 128 ] || rm $(VENV)/.running; exit $$status

watch: $(VENV)/.locked ## Shows a run's progress in a browser; --port and --no-browser in ARGS
	@$(ENTER) python workflow_scripts/watch.py $(ARGS)

chat: $(VENV)/.locked ## Talks to base and federated model of a finished experiment
	@$(ENTER) python workflow_scripts/chat.py $(ARGS)

verify: $(VENV)/.locked ## Checks adapters and histories against the audit logs of their servers
	@$(ENTER) python workflow_scripts/verify.py $(ARGS)

# One process more than there are cores, at most four, since many tests wait for programs. Each runs whole files,
# the slow ones first, and keeps to itself what it has built for them.
test: $(VENV)/.locked ## Runs the tests
	@$(ENTER) OMP_NUM_THREADS=1 python -m pytest -n $$(python -c "import os; print(min(4, os.cpu_count() + 1))") --durations=15 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(VENV)/.locked ## Measures, prints a table, writes results/benchmarks/bench.json
	@$(ENTER) python tests/benchmarks/run.py $(ARGS)

gpu-check: $(VENV)/.locked ## Checks everything on this machine's GPU, prints a table, writes JSON
	@$(ENTER) python tests/gpu/gpu_check.py $(ARGS)

docs: $(VENV)/.locked ## Builds the documentation into site/
	@$(ENTER) PYTHONPATH=workflow_scripts python -m blossomtune.config.reference > docs/configuration.md
	@$(ENTER) PYTHONPATH=workflow_scripts python -m blossomtune.artifacts.schemas docs/schemas
	@$(ENTER) zensical build --clean --strict

dist: $(VENV)/.locked ## Writes a wheel and an app for `flwr run` into dist/
	@$(ENTER) python envs/make_dist.py

lint: $(VENV)/.locked ## Checks style, docstrings and types of Python and Snakemake files
	$(ENTER) ruff check .
	$(ENTER) ruff format --check .
	$(ENTER) mypy
	$(ENTER) pydoclint --quiet workflow_scripts
	$(ENTER) python tests/check_style.py
	$(ENTER) snakefmt --check Snakefile workflow rules
	$(ENTER) snakemake --lint

lock: $(VENV)/.locked ## Resolves envs/requirements.in; newer versions with ARGS=--upgrade
	$(VENV)/bin/uv pip compile $(ARGS) --quiet --universal --python-version 3.11 --annotation-style line \
		--custom-compile-command "make lock" envs/requirements.in -o envs/requirements.lock
	sed -i.old -E '/^nvidia-ml-py=/!{/^(nvidia-|cuda-|triton=)/d;}' envs/requirements.lock
	rm envs/requirements.lock.old
	$(VENV)/bin/python envs/make_environment.py
	$(VENV)/bin/python envs/pin_dependencies.py

clean: ## Removes .venv; results stay
	rm -rf $(VENV)

# The stamp comes last: an interrupted installation is done again, from nothing.
$(VENV)/.locked: envs/requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing envs/requirements.lock into $(VENV); the first time this takes some minutes ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-compile -r envs/requirements.lock
	@$(VENV)/bin/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true # on all cores; some packages have files for other Pythons
	@touch $@
