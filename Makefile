# make help lists the targets.

GO      ?= go
TOOL    := $(GO) tool -modfile=tools/go.mod
# The nested modules, which are built and tested beside the main one.
MODULES := $(patsubst %/go.mod,%,$(filter-out ./go.mod ./tools/go.mod,$(shell find . -name go.mod -not -path '*/node_modules/*' | sort)))

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install the servers and the browser that are missing (apt-get, Homebrew; else it says what to type)
	@scripts/setup.sh

.PHONY: demo
demo: setup ## walk through the main job on real servers and two instances of the clinic, with measured times
	@$(GO) run ./examples/clinic/demo

.PHONY: run
run: setup ## keep the clinic up on http://127.0.0.1:8080 with servers of its own
	@$(GO) run ./cmd/devservices postgres redis -- $(GO) run ./examples/clinic

.PHONY: test
test: setup ## all tests, with the race detector and in random order
	@$(GO) test -race -exec true ./... >/dev/null # compiles everything at once; then one package at a time, since many
	@# tests measure what another package's load would spoil, and all modules, so that one run shows all that fails
	@status=0; for m in . $(MODULES); do echo "# $$m"; (cd $$m && $(GO) test -race -shuffle=on -p 1 -timeout 15m ./...) || status=1; done; exit $$status

DURATION ?= 60s
.PHONY: chaos
chaos: setup ## two instances under load while everything fails: DURATION=30m SEED=7
	CHAOS_DURATION=$(DURATION) CHAOS_SEED=$(SEED) $(GO) test -race -count=1 -v -timeout 0 ./examples/clinic/chaos

.PHONY: fuzz
fuzz: ## each fuzzer for FUZZTIME=30s
	@$(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
		grep -ohE 'func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go 2>/dev/null | awk '{print $$2}' | while read -r name; do \
			echo "# $$name in $$dir"; $(GO) test -run '^$$' -fuzz "^$${name}\$$" -fuzztime $(or $(FUZZTIME),30s) "$$dir" || exit 1; \
		done || exit 1; done

.PHONY: bench
bench: setup bench/node/node_modules ## measure pedro and its peers side by side into docs/ (CASE=regexp prints some cases)
	cd bench && $(GO) run . $(if $(CASE),-case '$(CASE)',-out ../docs)

.PHONY: bench-guard
bench-guard: setup ## the key ratios, short; fails below bench/floors.toml
	cd bench && $(GO) run . -guard -rounds 5 -slice 100ms

bench/node/node_modules: bench/node/package-lock.json
	@if command -v npm >/dev/null; then cd bench/node && npm ci --no-audit --no-fund && touch node_modules; else echo "no npm: the Node peers are left out"; fi

.PHONY: check
check: fmt-check vet lint tidy-check ## formatting, vet, linters, tidy modules

.PHONY: fmt
fmt: ## format everything
	$(TOOL) gofumpt -w -extra .
	$(TOOL) golangci-lint fmt ./...

.PHONY: fmt-check
fmt-check:
	@out=$$($(TOOL) gofumpt -l -extra .); if [ -n "$$out" ]; then echo "not formatted, run make fmt:"; echo "$$out"; exit 1; fi

.PHONY: vet
vet: ## go vet, in all modules; the packages build for 32 bits too
	$(GO) vet ./...
	GOARCH=386 $(GO) build ./pgpool ./rediscache ./session ./health ./lifecycle
	@for m in $(MODULES); do (cd $$m && $(GO) vet ./...) || exit 1; done

.PHONY: lint
lint: ## the linters of .golangci.yml, in all modules
	@status=0; for m in . $(MODULES); do echo "# $$m"; (cd $$m && $(GO) tool -modfile=$(CURDIR)/tools/go.mod golangci-lint run ./...) || status=1; done; exit $$status

.PHONY: apidiff
apidiff: ## the exported surface against that of the last tag
	@scripts/apidiff.sh

.PHONY: tidy
tidy: ## go mod tidy, in all modules
	@for m in . tools $(MODULES); do (cd $$m && $(GO) mod tidy) || exit 1; done

.PHONY: tidy-check
tidy-check:
	@for m in . $(MODULES); do (cd $$m && $(GO) mod tidy -diff) || { echo "$$m: run make tidy"; exit 1; }; done

.PHONY: docs
docs: ## the documents as HTML, in artifacts/docs
	@cd scripts/docsite && $(GO) run . -root ../.. -out ../../artifacts/docs

.PHONY: stranger
stranger: setup ## the way of a new user: go get from a file proxy, the README's program, real servers
	@scripts/stranger.sh

.PHONY: release-check
release-check: setup ## what must hold before a tag: VERSION=v0.2.0
	@scripts/release-check.sh $(VERSION)
