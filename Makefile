.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

.PHONY: help demo build test check

help: ## Shows this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | expand -t 12

demo: ## Runs one query through the whole system in one process, and prints the report
	@cargo build --locked --quiet --workspace --bins
	@target/debug/cardquery demo

build: ## Builds every binary
	cargo build --locked --workspace --bins

test: build ## Runs every test; starts the servers it needs and stops them (needs Java 17 and Maven)
	@command -v java >/dev/null || { echo "make test needs Java 17: apt-get install openjdk-17-jre-headless" >&2; exit 69; }
	@command -v mvn >/dev/null || { echo "make test needs Maven: apt-get install maven" >&2; exit 69; }
	cargo test --locked --workspace --no-fail-fast

check: ## Checks format, lints and documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
