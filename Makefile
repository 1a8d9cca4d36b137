# What a person or a pipeline runs here. `make` alone lists it.
#
# The tests and the demo start an API server of their own on loopback. Its programs are Go, built once from
# tests/control-plane and kept in .control-plane; a KUBEBUILDER_ASSETS folder (envtest) is used instead where it is set.

CARGO ?= cargo
GO ?= go
FEATURES := --all-features
# One feature set for every build, so that the operator's binary, the tests and the demo share their dependencies.
DEMO_PARTS := $(FEATURES) --bin ras-operator --example demo
# Everything but the end-to-end tests, which need a control plane.
FAST_TESTS := --lib --bins $(addprefix --test ,$(filter-out e2e,\
  $(patsubst tests/%.rs,%,$(wildcard tests/*.rs)) $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs))))

# These tests mostly wait, for periods and quarantines to pass: more at a time than there are cores.
E2E_THREADS ?= 12

KEPT := $(CURDIR)/.control-plane
STAMP := $(KEPT)/stamp
# Beside the servers, only where they are not brought along and not replaced by a cluster.
GROUND := $(if $(KUBEBUILDER_ASSETS)$(CLUSTER),,$(STAMP))

DEMO_ARGS := $(if $(ONCE),--once) $(if $(YES),--yes) $(if $(CLUSTER),--cluster '$(CLUSTER)')

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# What `make explore` runs, one after the other; each is also a target of its own, as in `make explore-model`.
EXPLORERS := model promotion_model $(patsubst tests/%/main.rs,%,$(wildcard tests/simulation/main.rs)) \
  chaos conformance operations planted

.PHONY: help demo demo-parts test explore $(addprefix explore-,$(EXPLORERS)) planted check fmt fmt-check lint doc unit e2e crds control-plane have-cargo have-go

help: ## list what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

demo: have-cargo ## a cluster, a farm and the operator on this machine, step by step (ONCE=1, CLUSTER=<context>, YES=1)
	@$(MAKE) -j2 demo-parts $(GROUND)
	@target/debug/examples/demo $(DEMO_ARGS)

demo-parts: have-cargo
	@$(CARGO) build $(DEMO_PARTS)

test: have-cargo ## everything that has to hold: format, lints, docs, unit, property and end-to-end tests
	@$(MAKE) -j2 check $(GROUND)
	@$(MAKE) e2e

check: have-cargo
	@$(MAKE) -j1 fmt-check lint doc unit

explore: have-cargo $(GROUND) ## every layer that looks for a counterexample, in full, and whether each planted bug is caught
	@lines=; failed=0; \
	for layer in $(EXPLORERS); do \
	  echo; echo "explore: $$layer"; began=$$(date +%s); \
	  if $(MAKE) explore-$$layer; then found=green; else found=RED; failed=1; fi; \
	  lines="$$lines  $$layer: $$found, $$(( $$(date +%s) - began )) s\n"; \
	done; \
	echo; echo 'In short:'; printf "$$lines"; exit $$failed

# So much is played that it pays to optimise what plays it.
explore-model explore-promotion_model explore-simulation: explore-%: have-cargo
	CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_TEST_OPT_LEVEL=1 RAS_OPERATOR_EXPLORE=full \
	  $(CARGO) test $(FEATURES) --test $* -- --nocapture --test-threads=1

explore-planted: planted

explore-chaos explore-conformance explore-operations: explore-%: have-cargo $(GROUND)
	RAS_OPERATOR_EXPLORE=full $(CARGO) test $(FEATURES) --test e2e $*:: -- --nocapture --include-ignored

planted: have-cargo $(GROUND) ## plant each bug of tests/planted and tell which layer catches it (ONLY='name ...')
	@tests/planted/run $(ONLY)

fmt: have-cargo ## format the code
	$(CARGO) fmt

fmt-check: have-cargo
	$(CARGO) fmt --check

lint: have-cargo ## clippy, where every warning is an error
	$(CARGO) clippy $(FEATURES) --all-targets -- -D warnings
	$(CARGO) clippy --bins -- -D warnings

doc: have-cargo ## the code's own pages, where every warning is an error
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(FEATURES) --no-deps

unit: have-cargo ## unit and property tests
	$(CARGO) test $(FEATURES) $(FAST_TESTS)

e2e: have-cargo $(GROUND) ## the built operator against a real API server and a simulated farm
	$(CARGO) test $(FEATURES) --test e2e -- --test-threads=$(E2E_THREADS)

crds: have-cargo ## write crds/ anew from the types
	$(CARGO) run $(FEATURES) --bin ras-operator -- crds --output crds

control-plane: $(STAMP) ## build etcd, kube-apiserver, kube-controller-manager and kubectl, once

# go install leaves etcd under the name of its folder, `server`.
$(STAMP): tests/control-plane/go.mod tests/control-plane/go.sum
	@$(MAKE) have-go
	@echo 'building etcd, kube-apiserver, kube-controller-manager and kubectl: once, some 6 minutes on 2 cores'
	@mkdir -p '$(KEPT)/bin'
	@cd tests/control-plane && export GOFLAGS= GOWORK=off GOBIN='$(KEPT)/bin' && \
	  version=$$($(GO) list -m -f '{{.Version}}' k8s.io/kubernetes) && \
	  at=k8s.io/component-base/version && minor=$${version#v1.} && \
	  $(GO) install -trimpath -ldflags="-s -w -X $$at.gitVersion=$$version -X $$at.gitMajor=1 -X $$at.gitMinor=$${minor%%.*}" tool
	@mv '$(KEPT)/bin/server' '$(KEPT)/bin/etcd'
	@touch '$@'

have-cargo:
	@command -v $(CARGO) >/dev/null || { echo 'cargo is missing: install Rust 1.95 with rustup, https://rustup.rs' >&2; exit 1; }

have-go:
	@command -v $(GO) >/dev/null || { echo 'go is missing: install Go 1.26, https://go.dev/dl, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl' >&2; exit 1; }
