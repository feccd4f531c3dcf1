# SPDX-License-Identifier: Apache-2.0
# Chain Replicated Redis: everything from an empty machine on. `make help` lists what there is.

PYTHON ?= /usr/bin/python3
ARGS ?=

venv := .venv
python := $(venv)/bin/python
redis := vendor/redis/src/redis-server
sources := setup.py include/redismodule.h \
           $(wildcard modules/*.* modules/*/*.p* modules/*/*/*.p* modules/*/*/*/*.p* tests/core_extension/*.p*)
export PATH := $(CURDIR)/$(venv)/bin:$(PATH)
# A server that is built says of which commit it is: of its own tree, if that has one, not of the repository around it.
own_commit := GIT_CEILING_DIRECTORIES='$(CURDIR)/vendor:$(CURDIR)/build/asan'
# In bold on a terminal.
say := @[ ! -t 1 ] || set -- '\033[1m' '\033[0m'; printf "$$1==> %s$$2\n"

.DELETE_ON_ERROR:
.PHONY: build test test-servers test-packages lint deb wheel bench bench-failover bench-etcd bench-flush soak run asan clean help
.DEFAULT_GOAL := build

build: build/.modules redis             ## Build Redis and the modules (the default); nothing when all is up to date

test: build vendor/etcd/bin/etcd vendor/servers/.fetched build/applications/.installed build/.packaging-tools  ## Run all tests; ARGS= goes to pytest
	$(say) 'Testing'
	$(python) -m pytest --numprocesses logical --dist worksteal $(ARGS)

test-servers: build vendor/etcd/bin/etcd vendor/servers/.fetched    ## Run the real-server tests with each other server; SERVER=valkey-9.1.2: with one
	$(say) 'Testing with other servers'
	scripts/test-servers $(SERVER) -- $(ARGS)

lint: $(venv)/.installed                ## Check style and types
	$(say) 'Checking style and types'
	$(venv)/bin/ruff check .
	$(venv)/bin/cython-lint modules tests/core_extension
	$(venv)/bin/mypy

bench: build                            ## Measure against plain Redis, into benchmarks/; ARGS= goes to the program
	$(say) 'Measuring: this takes some minutes'
	$(venv)/bin/chainredis bench $(ARGS)

bench-failover: build                   ## Measure what clients notice when members die and join; ARGS= goes to the program
	$(say) 'Measuring: this takes some minutes'
	$(venv)/bin/chainredis bench-failover $(ARGS)

bench-etcd: build vendor/etcd/bin/etcd  ## Measure repairs with masters in etcd, into benchmarks/; ARGS= goes to the program
	$(say) 'Measuring: this takes some minutes'
	$(venv)/bin/chainredis bench-etcd $(ARGS)

bench-flush: build                      ## Measure checkpoints and flushing, into benchmarks/; ARGS= goes to the program
	$(say) 'Measuring: this takes some minutes'
	$(venv)/bin/chainredis bench-flush $(ARGS)

soak: build vendor/etcd/bin/etcd        ## Faults at random for MINUTES= (60), then the simulator for SIM_STEPS= (ten million)
	$(say) 'Soaking'
	MINUTES=$(or $(MINUTES),60) $(python) -m pytest tests/fault_injection/test_series.py $(ARGS)
	SIM_STEPS=$(or $(SIM_STEPS),10000000) $(python) -m pytest --timeout=0 tests/simulation $(ARGS)

run: build $(if $(ETCD),vendor/etcd/bin/etcd)   ## Start a master and three members and show the chain; ETCD=1: with an etcd; ARGS='--help'
	@$(venv)/bin/chainredis run $(if $(ETCD),--etcd) $(ARGS)

asan: build build/asan/.modules vendor/etcd/bin/etcd    ## Run the real-server tests with AddressSanitizer and UBSan; ARGS= to pytest
	$(say) 'Testing with sanitizers'
	CHAINREDIS_SERVER=$(CURDIR)/build/asan/redis/src/redis-server CHAINREDIS_MODULES=$(CURDIR)/build/asan/src \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
	$(python) -m pytest tests/integration tests/etcd $(ARGS)

deb: build build/.packaging-tools       ## Build the Debian package into build/deb, and examine it with lintian
	$(say) 'Building the Debian package'
	packaging/build-deb

wheel: build                            ## Build a wheel for this version of Python and machines with as new a C library, into dist
	$(say) 'Building the wheel'
	packaging/build-wheel

test-packages: deb build/machine/.made  ## Test the packages on three machines of their own, as root; PYTHONS='python3.11 python3.13'
	$(say) 'Testing the packages: this takes some minutes'
	$(python) -m pytest tests/packages tests/packages/three_machines.py tests/packages/wheels.py tests/packages/images.py $(ARGS)

clean:                                  ## Remove what was built; Redis and the virtual environment stay
	rm -rf build tests/core_extension/*.so

help:                                   ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# ---------------------------------------------------------------------- what the targets above stand on

build/.modules: $(sources) vendor/redis-api/.built $(venv)/.installed
	$(say) 'Building the modules'
	$(python) setup.py -q build_ext
	@touch $@

# The README's commands start ../../redis/src/redis-server from build/src.
redis: | vendor/redis/.built
	@ln -sfn vendor/redis $@

# `--loadmodule libmember.so`, without a folder, is looked up along the server's run-time path.
vendor/redis/.built: vendor/build-redis | vendor/redis/.fetched
	$(say) 'Building Redis: about a minute'
	$(own_commit) vendor/build-redis vendor/redis REDIS_LDFLAGS='-Wl,-rpath,\$$$$ORIGIN/../../../build/src'
	@touch $@

# The modules are built with this hiredis, and against the header beside it, whichever server is in vendor/redis.
vendor/redis-api/.built: | vendor/redis-api/.fetched
	$(MAKE) -C vendor/redis-api/deps/hiredis --silent static USE_SSL=1 >/dev/null
	@touch $@

vendor/etcd/bin/etcd: | build/.system-packages
	$(say) 'Fetching etcd'
	vendor/fetch-etcd

# Those that are there stay: the list may have become longer.
vendor/servers/.fetched: vendor/servers.toml vendor/fetch-server | $(venv)/.installed
	$(say) 'Fetching servers for the tests'
	$(python) vendor/fetch-server
	@touch $@

vendor/redis/.fetched vendor/redis-api/.fetched &: | build/.system-packages
	$(say) 'Fetching the Redis source'
	vendor/fetch-redis
	@touch vendor/redis/.fetched vendor/redis-api/.fetched

$(venv)/.installed: requirements.txt | build/.system-packages
	$(say) 'Installing Python packages into $(venv)'
	@$(PYTHON) -c 'import sys, sysconfig; sys.exit(sys.version_info < (3, 11) or not sysconfig.get_config_var("Py_ENABLE_SHARED"))' \
	    || { echo '$(PYTHON) is not a shared-library build of Python 3.11 or later: give PYTHON=, such as /usr/bin/python3'; exit 1; }
	$(PYTHON) -m venv --clear $(venv)
	$(python) -m pip install -qq --disable-pip-version-check --requirement $<
	$(python) -m pip install -qq --disable-pip-version-check --no-index --no-build-isolation --no-deps --editable .
	@touch $@

# In an environment of their own, since they want other versions. Without Node.js, PHP or Ruby
# those for it are left out.
build/applications/.installed: tests/applications/requirements.txt tests/applications/package-lock.json | build/.system-packages
	$(say) 'Installing the applications that the tests run'
	@scripts/system-packages clients || echo 'Going on without them'
	$(PYTHON) -m venv --clear build/applications
	build/applications/bin/python -m pip install -qq --disable-pip-version-check --requirement $<
	@cp tests/applications/package.json tests/applications/package-lock.json build/applications/
	@! command -v npm >/dev/null || npm ci --silent --prefix build/applications --ignore-scripts --no-audit --no-fund
	@touch $@

build/.system-packages: scripts/system-packages
	@scripts/system-packages
	@mkdir -p build
	@touch $@

build/machine/.made: packaging/build-machine packaging/debian/control | build/.packaging-tools
	$(say) 'Making a small Debian: some minutes'
	scripts/system-packages machines
	packaging/build-machine
	@touch $@

# Without them the tests of the package are left out.
build/.packaging-tools: scripts/system-packages | build/.system-packages
	@scripts/system-packages packaging || echo 'Going on without them'
	@touch $@

build/asan/.modules: $(sources) build/asan/redis/.built build/asan/redis-api/.built
	$(say) 'Building the modules with sanitizers'
	CHAINREDIS_SANITIZE=1 $(python) setup.py -q build_ext
	@touch $@

build/asan/redis/.built: vendor/redis/.built
	$(say) 'Building Redis with sanitizers: some minutes'
	rm -rf build/asan/redis
	mkdir -p build/asan
	cp -a vendor/redis build/asan/redis
	$(MAKE) -C build/asan/redis --silent distclean >/dev/null 2>&1
	$(own_commit) vendor/build-redis build/asan/redis SANITIZER=address MALLOC=libc
	@touch $@

build/asan/redis-api/.built: vendor/redis-api/.built
	rm -rf build/asan/redis-api
	mkdir -p build/asan
	cp -a vendor/redis-api build/asan/redis-api
	$(MAKE) -C build/asan/redis-api/deps/hiredis --silent clean
	$(MAKE) -C build/asan/redis-api/deps/hiredis --silent static USE_SSL=1 CFLAGS=-fsanitize=address >/dev/null
	@touch $@
