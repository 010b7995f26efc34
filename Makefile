# Lethe, for people. CMakeLists.txt does the work; this sets everything up and drives it.
# "make demo" and "make test" work from a fresh clone: missing packages are installed (Debian and
# relatives), libllama is fetched, checked and built once into a cache, then Lethe.

JOBS    ?= $(shell nproc 2>/dev/null || echo 2)
CMAKE   ?= cmake
PREFIX  ?= /usr/local
OPTIONS ?=
# e.g. make OPTIONS="-DLETHE_LLAMA_OPTIONS=-DGGML_CUDA=ON"

BUILD     = build
BUILD_ASAN = build-asan
BUILD_TSAN = build-tsan

.PHONY: all demo test test-plain test-asan test-tsan test-slow test-browser bench check check-arm install deps model page clean help

all: $(BUILD)/.configured ## build build/lethe
	@$(CMAKE) --build $(BUILD) -j $(JOBS)

help: ## this list
	@echo "Lethe: makes a language model forget, without touching a weight."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
	  awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo "  JOBS=$(JOBS)  PREFIX=$(PREFIX)  OPTIONS= (passed to cmake)"

deps: ## install the Debian packages that are missing
	@tools/deps.sh

$(BUILD)/.configured: CMakeLists.txt cmake/*.cmake tools/get-llama.sh
	@tools/deps.sh
	@$(CMAKE) -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=Release -DLETHE_WERROR=ON \
	  -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(OPTIONS)
	@touch $@

$(BUILD_ASAN)/.configured: CMakeLists.txt cmake/*.cmake tools/get-llama.sh
	@tools/deps.sh
	@$(CMAKE) -S . -B $(BUILD_ASAN) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLETHE_WERROR=ON \
	  -DLETHE_SANITIZE=ON $(OPTIONS)
	@touch $@

demo: all ## make the embedded model forget Harry Potter (a minute or two)
	@$(BUILD)/lethe forget

test: check test-plain test-asan ## all tests: plain, then under AddressSanitizer and UBSan
	@echo "all tests passed"

check: all ## include directions and symbol prefixes
	@tools/check-includes.sh
	@tools/check-symbols.sh $(BUILD)/liblethe.a

check-arm: ## the kernels for 64-bit Arm, cross-compiled, under emulation
	@tools/check-arm.sh

test-plain: all
	@cd $(BUILD) && ctest --output-on-failure -LE slow

test-asan: $(BUILD_ASAN)/.configured
	@$(CMAKE) --build $(BUILD_ASAN) -j $(JOBS)
	@cd $(BUILD_ASAN) && ctest --output-on-failure -LE slow

$(BUILD_TSAN)/.configured: CMakeLists.txt cmake/*.cmake tools/get-llama.sh
	@tools/deps.sh
	@$(CMAKE) -S . -B $(BUILD_TSAN) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLETHE_WERROR=ON \
	  -DLETHE_TSAN=ON $(OPTIONS)
	@touch $@

# What has threads of its own; the rest is OpenMP, which ThreadSanitizer does not see through.
test-tsan: $(BUILD_TSAN)/.configured ## server, chat and library under ThreadSanitizer (many minutes)
	@$(CMAKE) --build $(BUILD_TSAN) -j $(JOBS)
	@cd $(BUILD_TSAN) && ctest --output-on-failure \
	  -R '^(test_(serve_.*|talk|attach)|cli_(serve|serve_load|openai|chat|library))$$'

test-slow: all ## the slow checks: interrupted training, tap cost, three seeds, fuzzing
	@cd $(BUILD) && ctest --output-on-failure -L slow

test-browser: all ## the page and the report in Chromium (skips without npm or chromium)
	@tests/web/run.sh $(BUILD)/lethe

bench: all ## measurements of speed, in a few minutes (see bench/README.md)
	@bench/bench.sh $(BUILD)

page: ## bundle the page again from web/src (needs npm)
	@cd web && npm ci --no-audit --no-fund --ignore-scripts --loglevel error && npm run --silent check && \
	  npm run --silent build

model: ## make the embedded model again from its recipe (needs python3-torch)
	@/usr/bin/python3 tools/model/make_model.py

install: all ## install lethe and its data to PREFIX
	@$(CMAKE) --install $(BUILD) --prefix $(DESTDIR)$(PREFIX)

clean: ## remove the build folders (the cache of libllama stays)
	@rm -rf $(BUILD) $(BUILD_ASAN) $(BUILD_TSAN)
