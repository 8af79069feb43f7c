# Segue. `make` alone explains itself; `make run` is the way in.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Build output and test tools stay outside the checkout, shared by every checkout of this user.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/segue/target
export SEGUE_TOOLS ?= $(HOME)/.cache/segue/tools
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(HOME)/.cargo/bin:$(PATH)

PREFIX ?= /usr/local
# `release` builds fast and runs fast; `dist` is what images ship: slower to build, smaller.
PROFILE ?= release
# Passed on: make run ARGS="--data /srv/segue"
ARGS ?=

BUILD_NEEDS := cmake:cmake g++:g++ cc:gcc
TEST_NEEDS := ffmpeg:ffmpeg sox:sox flac:flac lame:lame opusenc:opus-tools oggenc:vorbis-tools \
	cvlc:vlc-bin @vlc-plugin-base /usr/share/sounds/alsa:alsa-utils \
	chromium:chromium curl:curl openssl:openssl python3:python3 setpriv:util-linux
BENCH_NEEDS := nginx:nginx-light h2load:nghttp2-client git:git

.PHONY: help run build link install check test tools e2e bench soak fuzz clean cargo build-needs

help: ## This text
	@echo "Segue: an audio CDN in one binary."
	@echo
	@echo "  make run        builds everything, starts the whole stack with demo music on this"
	@echo "                  machine and prints the player's address (Ctrl-C ends it)"
	@echo "  make test       everything CI checks: format, lints, unit and end-to-end tests"
	@echo
	@echo "  make build      the release binary, linked as ./segue"
	@echo "  make install    the binary into $(PREFIX)/bin (PREFIX=… to change)"
	@echo "  make check      format and lints only"
	@echo "  make e2e        the end-to-end tests only (T=name for some of them)"
	@echo "  make bench      the benchmarks, beside ffmpeg, nginx and Caddy"
	@echo "  make soak       a long run under load (MINUTES=10), 10,000 spoilt files, 100 kills"
	@echo "  make fuzz       the fuzz targets, a while each (SECONDS_EACH=60)"
	@echo "  make clean      removes build output and the links in this checkout"
	@echo
	@echo "What is missing is installed where you are root or have sudo without a password;"
	@echo "elsewhere you are told what to install. Build output: $(CARGO_TARGET_DIR)"

cargo:
	@command -v cargo >/dev/null || { \
		echo "Segue is built with Rust 1.95 or later. Install it with rustup, then run make again." >&2; \
		exit 1; }

build-needs: cargo
	@deploy/need "building the codecs" $(BUILD_NEEDS)

build: build-needs ## Builds the binary and links it as ./segue
	@cargo build --locked --profile $(PROFILE) --package segue --bin segue
	@ln -sfn "$$CARGO_TARGET_DIR/$(PROFILE)/segue" segue

run: build ## Builds and starts the whole stack
	@exec ./segue up $(ARGS)

install: build ## Installs the binary below PREFIX
	@install -D -m 0755 "$$CARGO_TARGET_DIR/$(PROFILE)/segue" "$(DESTDIR)$(PREFIX)/bin/segue"
	@echo "installed $(DESTDIR)$(PREFIX)/bin/segue"

check: build-needs ## Format and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

tools: ## What the tests run against Segue: browsers, players, encoders
	@deploy/need "the tests" $(TEST_NEEDS)
	@deploy/tests/tools/install

# In here a tool that is missing is a failure; with plain `cargo test` it skips the test, aloud.
test: check tools ## Everything CI checks
	SEGUE_REQUIRE_TOOLS=1 cargo test --locked --workspace --no-fail-fast

e2e: build-needs tools ## End-to-end tests only
	SEGUE_REQUIRE_TOOLS=1 cargo test --locked --package segue --test e2e -- --nocapture $(T)

bench: build tools ## Benchmarks
	@deploy/need "the benchmarks" $(BENCH_NEEDS)
	@bench/run $(ARGS)

soak: build tools ## A long run under load, many spoilt files, many kills
	@bench/soak $(ARGS)
	SEGUE_MUTANTS=10000 SEGUE_KILLS=100 cargo test --locked --release --package segue --test e2e -- \
		--nocapture mutants whenever_workers

fuzz: build-needs ## Every fuzz target, a while each
	@bench/fuzz $(ARGS)

clean: ## Removes build output and links
	@if command -v cargo >/dev/null; then cargo clean; fi
	@for link in segue .venv node_modules; do if [ -L "$$link" ]; then rm "$$link"; fi; done
