# make demo     searches, trains, evaluates and pushes a model on the embedded digits, in MINUTES=3 minutes after the
#               set-up of the first run; MINUTES=0: with the settings of the config, however long they take
# make test     the tests
# make check    ruff, the rules on imports (import-linter) and types (pyright)
# make wheel    dist/multinomial_oracle-*.whl: the oracle by itself, for KerasTuner without this pipeline
# make settings docs/settings.md, from models/settings.py
# make venv     only the environment, .venv
# make flink    a Flink cluster with two workers on this machine, and the flags with which a run uses it (docs/engines.md);
#               make spark: Spark. It needs root, Java 17 and Maven. make flink-stop and make spark-stop end them
# make test-engines  the tests that start these clusters, and those that install and start a database
# make image    the container image IMAGE (docs/deploy.md); BASE_IMAGE=... for GPUs or a pinned base
# Nothing else is needed by hand but python3 with pip, make and a C++ compiler.

ROOT ?= runs/digits
CONFIG ?= pipeline/configs/digits.py
MINUTES ?= 3
IMAGE ?= mdenas
PYTHON := .venv/bin/python
# uv, from the PATH or else brought by the python3 that is there into .uv/.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
# uv finds Python 3.10 or fetches it, but it does not look behind the shims of a pyenv that has 3.10 not activated.
PYTHON310 ?= $(or $(lastword $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.10.*/bin/python3.10)),3.10)

ENGINES := flink spark

.PHONY: demo test check settings wheel venv image requirements clean test-engines
.PHONY: $(ENGINES) $(ENGINES:=-fetch) $(ENGINES:=-stop)

demo: .venv/installed
	$(PYTHON) -m pipeline.local_runner --config=$(CONFIG) --root=$(ROOT) --config.budget.minutes=$(MINUTES) $(ARGS)

test: .venv/installed
	$(PYTHON) -m pytest $(ARGS)

# setuptools would put files that were renamed or removed since into the wheel, if it found them in build/.
wheel: $(UV)
	rm -rf build
	$(UV) build --quiet --wheel --out-dir dist

settings: .venv/installed
	$(PYTHON) -m models.settings > docs/settings.md

check: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/basedpyright

venv: .venv/installed

# Several of TFX's dependencies come as source, so look for the compiler before anything is downloaded.
.venv/installed: requirements.txt
	@command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || { \
	  echo "make venv: no C++ compiler found (TFX's pyfarmhash comes as source)." \
	       "Install one first: 'apt-get install build-essential' or 'dnf install gcc-c++'." >&2; exit 1; }
	@$(MAKE) --no-print-directory $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON310) .venv
	$(UV) pip install --quiet --python .venv --require-hashes -r requirements.txt
	@touch $@

# Only reached when there is no uv on the PATH.
.uv/bin/uv:
	@python3 -m pip --version >/dev/null 2>&1 || { \
	  echo "make venv: needs either uv or python3 with pip ('apt-get install python3-pip')." >&2; exit 1; }
	python3 -m pip install --quiet --disable-pip-version-check --target .uv uv

$(ENGINES): %: %-fetch
	@$(PYTHON) -m pipeline.engines start $*

$(ENGINES:=-stop): %-stop: .venv/installed
	@$(PYTHON) -m pipeline.engines stop $*

test-engines: .venv/installed $(ENGINES:=-fetch)
	$(PYTHON) -m pytest tests/engines -n0 $(ENGINES:%=--engine=%) $(ARGS)

# The check comes before the download, which takes minutes.
$(ENGINES:=-fetch): %-fetch: .venv/installed
	@$(PYTHON) -m pipeline.engines check $*
	@$(MAKE) --no-print-directory .engines/$*/packages/fetched .engines/$*/job-server.jar

# Only the jars in these packages are used. pyspark comes as source, and setuptools puts its jars in place.
.engines/%/packages/fetched: pipeline/engines/packages/%.txt pipeline/engines/packages/build.txt $(UV)
	rm -rf $(@D)
	$(UV) pip install --quiet --python .venv --target $(@D) --no-deps --require-hashes \
	  --build-constraints pipeline/engines/packages/build.txt --requirement $<
	@touch $@

# The job server is put in its place only after each jar in it was compared with the checksum that is known.
.engines/%/job-server.jar: pipeline/engines/maven/%/pom.xml pipeline/engines/maven/%/dependencies.sha256
	rm -rf $(@D)/build
	mkdir -p $(@D)/build
	cp $< $(@D)/build
	cd $(@D)/build && mvn --batch-mode --quiet --strict-checksums dependency:copy-dependencies -DincludeScope=runtime \
	  -DoutputDirectory=jars package
	@cd $(@D)/build/jars && LC_ALL=C sha256sum *.jar | diff $(CURDIR)/$(word 2,$^) - || { \
	  echo "make $*: Maven fetched other jars than $(word 2,$^) has. The job server was not built." >&2; exit 1; }
	mv $(@D)/build/target/job-server.jar $@
	rm -rf $(@D)/build

image:
	@command -v docker >/dev/null 2>&1 || { echo "make image: no docker found; install Docker or podman-docker." >&2; exit 1; }
	docker build --tag $(IMAGE) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) .

# The full set of pins: the newest releases up to a date, so that it can be made again; the two Keras
# packages are pinned by hand to later ones.
requirements: $(UV)
	$(UV) pip compile requirements.in --output-file requirements.txt --python-version 3.10 --quiet \
	  --generate-hashes --no-header --no-emit-index-url --exclude-newer 2025-02-01 \
	  --exclude-newer-package keras=2026-11-20 --exclude-newer-package keras-tuner=2026-11-20

clean: $(patsubst .engines/%/state.json,%-stop,$(wildcard .engines/*/state.json))
	rm -rf .venv .uv .engines
