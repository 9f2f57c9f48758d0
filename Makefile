# Run `make help` for the targets.

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

.PHONY: up
up: ## Run Slipway on this machine, with ARGS="--listen 127.0.0.1:9000"; the first build takes some minutes
	CGO_ENABLED=0 go build -v -trimpath -o bin/slipway ./cmd/slipway
	bin/slipway up $(ARGS)

.PHONY: build
build: ## Build bin/slipway
	CGO_ENABLED=0 go build -trimpath -o bin/slipway ./cmd/slipway

.PHONY: test
test: ## Install what the tests need and run all of them; STAGES="unit e2e" runs some
	sh test/setup.sh
	go run ./test/run $(STAGES)

.PHONY: lint
lint: ## Check format, vet, staticcheck and the repository's rules
	go run ./test/run format vet staticcheck rules

.PHONY: chaos
chaos: ## Kill the server and agents under load for FOR=10m, then look for what is lost
	sh test/setup.sh
	go test ./test/e2e -race -v -count=1 -timeout 0 -run '^TestNothingIsLostUnderKills$$' -chaos $(or $(FOR),10m)

.PHONY: bench
bench: ## Measure this machine against the bars of docs/performance.md, on SQLite and PostgreSQL; 10,000 agents want 20,000 open files
	CGO_ENABLED=0 go build -C test/officialagent -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/buildkite-agent github.com/buildkite/agent/v3
	ulimit -n $$(ulimit -Hn) && go run ./test/load -official bin/buildkite-agent && go run ./test/load -postgres one-job many-jobs throughput dispatch busy-dispatch ingest
