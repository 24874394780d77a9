# make demo   the whole loop on a simulated session, live, in a minute or two
# make test   every check
# make env    .venv with everything that the two need

PYTHON ?= $(firstword $(foreach v,3.14 3.13 3.12 3.11,$(if $(shell python$(v) -c "import venv, ensurepip; print(1)" 2>/dev/null),python$(v))) \
            $(shell python3 -c "import sys, venv, ensurepip; print('python3' if (3, 11) <= sys.version_info < (3, 15) else '')" 2>/dev/null))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# where the tests keep what the windows looked like
export STREAMER_PICTURES ?= build/pictures

.PHONY: demo test env faults pictures audit lint unit system system-packages clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: .venv/.runtime
	$(BIN)/streamer demo $(ARGS)

test: env system-packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive streamer models dashboard
	$(BIN)/python -m pytest -n auto --dist loadfile -m "beside or not system" tests $(ARGS)
	$(BIN)/python -m pytest -m "system and not beside" tests/system $(ARGS)
	$(BIN)/python -m pytest -p no:randomly tests/faults $(ARGS)

# make faults faults injected into live sessions; writes their table
faults: env system-packages
	FAULTS_TABLE=1 $(BIN)/python -m pytest -p no:randomly tests/faults $(ARGS)

# make pictures the README's pictures, anew, from a simulated session
pictures: env system-packages
	.ci/pictures

# make audit  known holes in what is installed, asked of PyPI (needs the network)
audit: env
	$(PIP) install --quiet pip-audit
	$(BIN)/pip-audit

env: .venv/.full

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python from 3.11 to 3.14 with venv was found: install one (Debian, Ubuntu: sudo apt-get install python3-venv; macOS: brew install python@3.13), or name it: make PYTHON=/path/to/python"; exit 3; }
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --upgrade pip

.venv/.runtime: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/.full: .venv/.runtime
	$(PIP) install --quiet torch==2.13.0
	$(PIP) install --quiet --constraint constraints.txt --editable ".[train,test]"
	@touch $@

# what pip cannot bring: a broker with a foreign client, and a screen for the windows under test
system-packages:
	@sh .ci/system-packages

clean:
	rm -rf .venv build *.egg-info
