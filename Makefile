.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

.PHONY: help demo build test api-test run check stack-up stack-down stack-status

help: ## Shows this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | expand -t 14

demo: ## Runs one query through the whole system in one process, and prints the report
	@cargo build --locked --quiet --workspace --bins
	@target/debug/cardquery demo

build: ## Builds every binary
	cargo build --locked --workspace --bins

test: build ## Runs every test, and checks that those of docs/PROMISES.md passed; installs and starts the servers it needs, and stops them
	@tested=0; deploy/stack run --dir target/test-stack --with-prometheus -- cargo test --locked --workspace --no-fail-fast \
	  | tee target/test.log || tested=$$?; \
	tests/promises-kept target/test.log || tested=1; exit $$tested

api-test: build ## Runs Schemathesis on both HTTP interfaces of a whole system; installs it from PyPI
	@deploy/stack run --dir target/api-stack -- deploy/api-test target/api-stack

run: build ## Runs the whole system on the local stack, which it starts; Ctrl-C stops the system
	@deploy/stack up
	@target/debug/cardquery run

stack-up: ## Starts Kafka, PostgreSQL and Redis for local use
	@deploy/stack up

stack-down: ## Stops them; their data stays
	@deploy/stack down

stack-status: ## Says which of them run
	@deploy/stack status

check: ## Checks format, lints and documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
