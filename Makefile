# What a person types. Every recipe is one line: what happens stands in scripts/.
.DEFAULT_GOAL := help
.PHONY: help run test test-vm fuzz lint format bench build clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, end with a container run by an unprivileged user
	@scripts/run.sh

test: ## install what the tests need, then run all of them
	@scripts/test.sh

test-vm: ## the tests on a real systemd: a virtual machine, and namespaces
	@scripts/test-vm.sh

fuzz: ## look for input that breaks the overlay file system, a minute for each target
	@scripts/fuzz.sh

lint: ## formatting, clippy, documentation links, shell scripts
	@scripts/lint.sh

format: ## let rustfmt write
	@cargo fmt

bench: ## measure against the bare system calls and the runtimes that are installed
	@scripts/bench.sh

build: ## the static release binary, as shipped
	@scripts/build-static.sh

clean: ## remove what was built; caches of the tests stay
	@cargo clean
