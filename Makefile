# The two commands: make demo, make test. Each sets up all that it needs in .venv, and again only when something changed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test serve check format bench clean

demo: $(READY)
	$(BIN)/babelmill demo

serve: $(READY)
	$(BIN)/babelmill serve

test: check
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "babelmill needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $(READY)

bench: $(READY)   # make bench WMT_NEWS=wmt_news.parquet LASER_ENCODERS=site-packages CONFIG=two_crawls.yaml; each script says what it needs
	$(BIN)/python benchmarks/mining_quality.py $(WMT_NEWS)
	$(BIN)/python benchmarks/embedding.py $(WMT_NEWS) --laser-encoders $(LASER_ENCODERS)
	$(BIN)/python benchmarks/object_store.py
	$(BIN)/python benchmarks/overhead.py $(CONFIG) --workdir bench/overhead
	$(BIN)/python benchmarks/incremental.py $(CONFIG) --workdir bench/incremental

clean:
	rm -rf .venv demo bench
