# Everything that people and CI do with this project. It needs make and Python 3.11 or newer; the rest it installs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REPOSITORY ?= model_repo

# uv does not read pip's settings: where pip finds wheels on this machine, uv shall find them too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# Elsewhere, plain torch would bring gigabytes of CUDA; UV_TORCH_BACKEND=auto chooses by the machine's GPU.
ifeq ($(UV_FIND_LINKS),)
export UV_TORCH_BACKEND ?= cpu
endif
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt

# Other people's clients, for the tests: each needs an environment of its own, pinned in tests/clients/requirements/.
CLIENTS := .clients
CLIENT_STAMPS := $(patsubst tests/clients/requirements/%.txt,$(CLIENTS)/%/.installed,$(wildcard tests/clients/requirements/*.txt))

# Other people's servers, for the benchmark: likewise, pinned in loadtests/bench/requirements/.
PEERS := .peers
PEER_STAMPS := $(patsubst loadtests/bench/requirements/%.txt,$(PEERS)/%/.installed,$(wildcard loadtests/bench/requirements/*.txt))

# Torii with other builds of the runtimes, for the load tests: likewise, pinned in loadtests/hardware/requirements/.
HARDWARE := .hardware

# Other people's load generators, for the cross-check: pinned in loadtests/crosscheck/requirements.txt.
CROSSCHECK := .crosscheck

# Containers often forbid Python to keep what it compiled: each of the tests' hundreds of processes would compile it again.
CACHED := env -u PYTHONDONTWRITEBYTECODE

.PHONY: help run test clients browser-client check crosscheck crosscheck-tools format hardware-cuda hardware-openvino load bench bench-peers profile proof-assignment proof-batching proof-comparison proof-edge proof-edge-speed proof-experiments proof-export proof-generator proof-json proof-many proof-memory proof-overload proof-openapi proof-page proof-reload proof-stall proof-statistics protos train pin clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed-all ## Make the environment and serve model_repo/ with all four backends
	$(BIN)/torii serve $(REPOSITORY)

test: $(VENV)/.installed-dev clients ## Make the environment and run the tests, two at a time (ARGS="-k name" for some, "-n 0" for one at a time)
	$(CACHED) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --tb=native $(ARGS)

clients: $(CLIENT_STAMPS) ## Install the clients that the tests use (tritonclient, kserve, mlserver, schemathesis, newman)

browser-client: edge/browser/dist/.complete ## Build the browser's edge client and its demo page into edge/browser/dist (node, npm)

check: $(VENV)/.installed-dev ## Format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crosscheck: $(VENV)/.installed-dev ## The same load by wrk, h2load, perf_analyzer and MLPerf's LoadGen beside ours (ARGS="--help")
	$(BIN)/python -m loadtests.crosscheck $(ARGS)

crosscheck-tools: $(CROSSCHECK)/.installed ## Install those tools: an environment, and Debian's wrk, nghttp2-client, libb64-0d (root)
	@wanted=""; \
	command -v wrk >/dev/null || wanted="$$wanted wrk"; \
	command -v h2load >/dev/null || wanted="$$wanted nghttp2-client"; \
	$(BIN)/python -c 'import ctypes; ctypes.CDLL("libb64.so.0d")' 2>/dev/null || wanted="$$wanted libb64-0d"; \
	if [ -z "$$wanted" ]; then echo "All tools of the system are there"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get install -y $$wanted; \
	else echo "Install what is missing as root, by Debian's names: apt install$$wanted"; fi

hardware-cuda: $(HARDWARE)/cuda/.installed ## Install Torii with ONNX Runtime and PyTorch for NVIDIA GPUs, which load tests then measure (several GB)

hardware-openvino: $(HARDWARE)/openvino/.installed ## Install Torii with ONNX Runtime and OpenVINO, which load tests then measure

load: $(VENV)/.installed-dev ## Measure a scenario: SCENARIO=frameworks, server, … (none: their list; ARGS="--quick", "--help")
	$(BIN)/python -m loadtests run $(SCENARIO) $(ARGS)

bench: $(VENV)/.installed-dev ## Torii beside other servers, in one run (ARGS="cnn", "resnet", "image", "experiment", "backends", "--help")
	$(BIN)/python -m loadtests.bench $(ARGS)

bench-peers: $(PEER_STAMPS) ## Install what `make bench` compares with: Triton, MLServer, KServe, LitServe, BentoML

profile: $(VENV)/.installed-dev ## What a request costs, stage by stage (ARGS="--instructions" counts them by valgrind)
	@$(BIN)/python -m tests.proofs.hot_path $(ARGS)

proof-assignment: $(VENV)/.installed-dev ## What an experiment adds to a request: microseconds
	@$(BIN)/python -m tests.proofs.assignment_cost

proof-batching: $(VENV)/.installed-dev ## A million requests among reloads and kills: to each its own answer (ARGS="--help")
	$(BIN)/python -m tests.proofs.batching $(ARGS)

proof-comparison: $(VENV)/.installed-dev ## 200 real pairs of load tests without a difference: at most 5 % are called different (ARGS="--help")
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.proofs.comparison $(ARGS)

proof-edge: $(VENV)/.installed-dev ## Rollouts to 10,000 simulated devices: stages, halts, the way back (ARGS="--help")
	$(BIN)/python -m tests.proofs.edge_rollout $(ARGS)

proof-edge-speed: $(VENV)/.installed-dev ## What delivering to devices costs, beside nginx on the same core
	$(BIN)/python -m tests.proofs.edge_speed

proof-experiments: $(VENV)/.installed-dev ## Assignment of 100,000 units, failing variants, kills, and what a shadow costs (ARGS="--help")
	$(BIN)/python -m tests.proofs.experiments $(ARGS)

proof-export: $(VENV)/.installed-dev ## Every path of an export, each with its certificate (makes 10 GB of environments once; ARGS="--only TEXT")
	@$(BIN)/python -m tests.proofs.exports $(ARGS)

proof-generator: $(VENV)/.installed-dev ## Requests/s that the load generator sends from one core, beside wrk, h2load and Locust's own client (ARGS="--help")
	$(BIN)/python -m tests.proofs.generator_speed $(ARGS)

proof-json: $(VENV)/.installed-dev ## An image as JSON: hardly more than a JSON parser and numpy take
	$(BIN)/python -m tests.proofs.json_speed

proof-many: $(VENV)/.installed-dev ## What the tests do a little of: 10,000 tensors each way, 60 kills of whoever saves, every peer of the benchmark
	TORII_TEST_CASES=10000 TORII_TEST_KILLS=60 TORII_TEST_PEERS=1 $(BIN)/python -m pytest -n 0 \
	  tests/e2e/test_every_tensor.py tests/gateway/experiments/store/test_crash.py tests/loadtests/bench/test_peers.py

proof-memory: $(VENV)/.installed-dev ## 50 cycles of load and unload: the gateway must not grow
	$(BIN)/python -m tests.proofs.memory

proof-overload: $(VENV)/.installed-dev ## Twice the load that a model can carry: answers in time stay at 95 % of their peak
	$(BIN)/python -m tests.proofs.overload

proof-openapi: $(VENV)/.installed-dev clients ## schemathesis: thousands of requests, good and bad, and no 500 among the answers
	$(BIN)/python -m tests.proofs.openapi

proof-page: $(VENV)/.installed-dev ## 50 million recorded requests: the experiment's page opens within a second
	$(BIN)/python -m tests.proofs.experiment_page

proof-reload: $(VENV)/.installed-dev ## 1,100 reloads under constant traffic: nothing fails, waits or grows (ARGS="--help")
	$(BIN)/python -m tests.proofs.reload $(ARGS)

proof-stall: $(VENV)/.installed-dev ## A gateway that is paused for a second: an open loop shows it, a closed one hides it (ARGS="--help")
	$(BIN)/python -m tests.proofs.stall $(ARGS)

proof-statistics: $(VENV)/.installed-dev ## 2,000 experiments of each kind without a difference: at most 5 % ever call one (ARGS="--help")
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.proofs.statistics $(ARGS)

protos: $(VENV)/.installed-dev ## Compile the .proto files
	$(BIN)/python -m grpc_tools.protoc -I gateway/protocols/protos --include_imports \
	  --descriptor_set_out=gateway/protocols/protos/protos.binpb gateway/protocols/protos/*.proto

train: $(VENV)/.installed-dev ## Train the sample models again
	$(BIN)/python model_repo/train_digits.py --out model_repo --images docs/digits

pin: $(VENV)/.uv ## Write constraints.txt anew from pyproject.toml (torch stays where it is)
	@grep -E '^(#|torch==)' constraints.txt > constraints.kept
	@{ grep '^#' constraints.kept; $(BIN)/uv pip compile --quiet --extra dev --constraint constraints.kept \
	  --no-header --no-annotate pyproject.toml \
	  | sed 's/+cpu$$//' | grep -E '^[a-z0-9.-]+=='; } > constraints.new
	@mv constraints.new constraints.txt && rm constraints.kept

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) $(CLIENTS) $(PEERS) $(HARDWARE) $(CROSSCHECK) edge/browser/build edge/browser/dist edge/browser/node_modules build dist bench-results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	  f"Torii needs Python 3.11 or newer, and this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11")'
	@echo "Making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/.installed-all: $(VENV)/.uv pyproject.toml constraints.txt
	@echo "Installing Torii with all four backends (about 3 GB on disk, most of it TensorFlow and PyTorch)"
	@$(INSTALL) --editable '.[all,load]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.uv pyproject.toml constraints.txt
	@echo "Installing Torii with all four backends and the tools for development"
	@$(INSTALL) --editable '.[dev]'
	@touch $@
	@touch $(VENV)/.installed-all

# A client that cannot be installed leaves no stamp: its tests say so and are skipped, the others run.
$(CLIENTS)/%/.installed: tests/clients/requirements/%.txt | $(VENV)/.uv
	@echo "Installing the client $*"
	@{ $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D) \
	  && $(BIN)/uv pip install --quiet --python $(@D)/bin/python --requirement $< \
	  && touch $@; } || echo "$* could not be installed: the tests that use it will be skipped"

$(CLIENTS)/newman/.installed: tests/clients/requirements/newman.txt
	@echo "Installing the client newman"
	@{ npm install --silent --no-audit --no-fund --no-package-lock --prefix $(@D) $$(cat $<) \
	  && touch $@; } || echo "newman could not be installed (it needs npm): the tests that use it will be skipped"

# The onnxruntime that Torii has: it is servers that are compared.
$(PEERS)/%/.installed: loadtests/bench/requirements/%.txt constraints.txt | $(VENV)/.uv
	@echo "Installing the server $*"
	@{ $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D) \
	  && $(BIN)/uv pip install --quiet --python $(@D)/bin/python --requirement $< $$(grep '^onnxruntime==' constraints.txt) \
	  && touch $@; } || echo "$* could not be installed: the benchmark will leave it out"

$(CROSSCHECK)/.installed: loadtests/crosscheck/requirements.txt | $(VENV)/.uv
	@echo "Installing perf_analyzer and LoadGen"
	@{ $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D) \
	  && $(BIN)/uv pip install --quiet --python $(@D)/bin/python --requirement $< \
	  && touch $@; } || echo "perf_analyzer and LoadGen could not be installed: the cross-check will leave them out"

# With the same Torii, from this folder; without the extra `onnx`, whose onnxruntime would take the place of the other.
$(HARDWARE)/%/.installed: loadtests/hardware/requirements/%.txt constraints.txt pyproject.toml | $(VENV)/.uv
	@echo "Installing Torii with $*"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	@$(HARDWARE_INDEX) $(BIN)/uv pip install --quiet --python $(@D)/bin/python --constraint constraints.txt \
	  --editable '.$(HARDWARE_EXTRAS)' --requirement $<
	@touch $@

# PyTorch as the machine's driver needs it, and not the wheels for CPUs.
$(HARDWARE)/cuda/.installed: HARDWARE_EXTRAS = [torchserve]
$(HARDWARE)/cuda/.installed: HARDWARE_INDEX = UV_FIND_LINKS= UV_TORCH_BACKEND=auto

# The browser client: exact versions in package.json, and no lock file, which would name a registry.
edge/browser/node_modules/.installed: edge/browser/package.json
	@echo "Installing what the browser client is built from"
	@cd edge/browser && npm install --silent --no-audit --no-fund --no-package-lock && touch node_modules/.installed

edge/browser/dist/.complete: edge/browser/node_modules/.installed edge/browser/build.mjs $(shell find edge/browser/src edge/browser/demo -type f)
	@cd edge/browser && node build.mjs
