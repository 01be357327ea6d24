# `make help` lists the targets. Every tool is run at a pinned version without a line in go.mod, so that a user of the
# library inherits none of them.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

export GO   ?= go
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

BENCH     ?= .
BENCHTIME ?= 1s
COUNT     ?= 10
FUZZTIME  ?= 60s

# The race detector is linked by a C compiler. A test that finds no server fails instead of being skipped: setup has them.
test race: export CGO_ENABLED = 1
test race: export IDEMPOTENCY_REQUIRE_SERVICES = 1

# The module itself and those nested in it, which `./...` leaves out.
MODULES := $(patsubst %/,%,$(dir $(shell find . -name go.mod -not -path '*/testdata/*' | sort)))

# in_modules runs its argument at the root of every module.
in_modules = for module in $(MODULES); do (cd "$$module" && $(1)); done

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what the tests need beyond Go (test and race call it)
	@scripts/setup.sh

.PHONY: check
check: ## Formatting (gofumpt), go vet, staticcheck and a tidy go.mod; changes nothing
	@files=$$($(GO) run $(GOFUMPT) -l .); if [ -n "$$files" ]; then echo "Not gofumpt'ed:"; echo "$$files"; exit 1; fi
	@$(call in_modules,$(GO) vet ./...)
	@$(call in_modules,$(GO) run $(STATICCHECK) ./...)
	@$(call in_modules,$(GO) mod tidy -diff)

# -count=1: some tests ask the go command about the tree, and the test cache does not see what a child process reads.
.PHONY: test
test: setup ## All tests of all modules with the race detector
	@$(call in_modules,$(GO) test -race -count=1 ./...)

.PHONY: race
race: setup ## The same tests COUNT times in a row (10), to find what fails once in a while
	@for i in $$(seq $(COUNT)); do echo "round $$i of $(COUNT)"; $(call in_modules,$(GO) test -race -count=1 ./...); done

.PHONY: lint
lint: ## golangci-lint with .golangci.yml, if it is installed
	@command -v golangci-lint >/dev/null || { echo "golangci-lint is missing; install it with"; echo "  $(GO) install $(GOLANGCI)"; exit 1; }
	@$(call in_modules,golangci-lint run ./...)

.PHONY: bench
bench: ## Benchmarks matching BENCH (all), BENCHTIME each (1s)
	@$(call in_modules,$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime '$(BENCHTIME)' -benchmem ./...)

.PHONY: fuzz
fuzz: ## Every fuzz target in turn, FUZZTIME each (60s)
	@scripts/fuzz.sh '$(FUZZTIME)'

.PHONY: cover
cover: ## Coverage of the module by all its tests, as cover.out
	@$(GO) test -count=1 -coverpkg=./... -coverprofile=cover.out ./...
	@$(GO) tool cover -func=cover.out | tail -n 1
