# Needs Python 3.11 or newer, git and make; everything else is put into .venv.
#
#   make run     the service with the sample rules and a made-up shop, a day a minute
#   make test    all tests, two files at a time; TESTS_AT_ONCE=n for more, where there are processors for it
#   make check   formatting, lint, types, imports
#   make bench   the benchmarks, one line each; the exit status is 1 where a floor is missed
#                bench-dispatch, bench-kafka: those of the dispatcher, of a worker on Kafka alone (needs Java 17 and Maven)
#   make torture  the service is killed 140 times while it sends, and must keep its promises; SEED=n repeats a run
#   make torture-kafka  workers are killed, stopped, added and removed while events flow (needs Java 17 and Maven)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SPEED ?= 1440
# Most of a test's time is waiting for real processes and brokers; each of these starts a broker of its own.
TESTS_AT_ONCE ?= 2
CUSTOMERS ?= 2000
READY := .venv/.ready

.DELETE_ON_ERROR:
.PHONY: run test check bench bench-dispatch bench-kafka torture torture-kafka clean

run: $(READY) var/demo.jsonl
	$(BIN)/triggers run --rules rules --db var/demo.db --input var/demo.jsonl --speed $(SPEED)

test: $(READY)
	$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	@status=0; for file in tests/bench/bench_*.py; do $(BIN)/python $$file || status=1; done; exit $$status

bench-dispatch: $(READY)
	$(BIN)/python tests/bench/bench_dispatch.py

bench-kafka: $(READY)
	$(BIN)/python tests/bench/bench_kafka.py

torture: $(READY)
	$(BIN)/python tests/torture/torture.py $(if $(SEED),--seed $(SEED))

torture-kafka: $(READY)
	PYTHONPATH=tests/drivers $(BIN)/python tests/torture/kafka_chaos.py $(if $(SEED),--seed $(SEED))

clean:
	rm -rf .venv var build dist

# The dev tools are listed once, in pyproject.toml; `--group` needs pip 25.1.
$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no python3.11 or python3 found"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --editable .
	touch $(READY)

var/demo.jsonl: | $(READY)
	mkdir -p var
	$(BIN)/triggers simulate --customers $(CUSTOMERS) --out $@
