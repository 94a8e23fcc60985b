# bound-images: what can be done with this tree. `make` lists it.
#
# cargo does the building; hack/ holds the scripts that are longer than a line. Only `test`, `demo`
# and `fresh-machine` install anything (hack/install-packages), and only they and `integration` need
# root; none of them calls sudo. Variables: prefix, DESTDIR, SUITE, RUN, CARGO_TARGET_DIR.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The same order as in hack/install-packages: rustup's cargo first, when there is one.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH):/usr/sbin:/sbin

prefix ?= /usr/local
target := $(or $(CARGO_TARGET_DIR),target)
SUITE ?= trixie
RUN ?= make demo

.PHONY: help build check integration test bench demo install fresh-machine clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do \
		printf '  make %-14s %s\n' "$$name" "$$text"; done

build: ## Build the program: target/release/bound-images
	cargo build --locked --release -p bound-images

check: ## Format, lints, unit tests, documentation; no root, no network beyond crates
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked -p bound-images-lib -p bound-images
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --workspace

integration: ## Run the program against real registries and podman; needs root
	@$(call needs_root,integration)
	cargo build --locked -p bound-images
	cargo test --locked -p tests-integration -- --test-threads=2

test: ## Install what is missing, then check and integration; needs root
	@$(call needs_root,test)
	hack/install-packages build run test
	$(MAKE) check
	$(MAKE) integration

bench: ## Time the program against upstream's sequence and print ratios; needs root
	@$(call needs_root,bench)
	hack/install-packages build run test
	cargo build --locked --release -p bound-images
	BOUND_IMAGES_BIN=$(abspath $(target))/release/bound-images cargo bench --locked -p tests-integration

demo: ## Install what is missing, build, and show the program at work; needs root
	@$(call needs_root,demo)
	hack/install-packages build run test
	cargo build --locked -p bound-images
	hack/demo $(target)/debug/bound-images

install: ## Install what `make build` made: DESTDIR, prefix=/usr/local
	@[[ -x $(target)/release/bound-images ]] || { echo "make install: nothing is built yet: run make build" >&2; exit 1; }
	install -D -m 0755 $(target)/release/bound-images '$(DESTDIR)$(prefix)/bin/bound-images'
	for page in docs/man/*.[18]; do [[ ! -e $$page ]] || \
		install -D -m 0644 "$$page" '$(DESTDIR)$(prefix)/share/man/man'"$${page##*.}/$${page##*/}"; done
	install -d '$(DESTDIR)/usr/lib/bootc'
	cp -R -P --no-preserve=ownership -T usr-lib-bootc '$(DESTDIR)/usr/lib/bootc'

fresh-machine: ## RUN='make demo' on a new, minimal Debian: SUITE=trixie or bookworm; needs root
	@$(call needs_root,fresh-machine)
	hack/fresh-machine $(SUITE) $(RUN)

clean: ## Remove what was built
	cargo clean

# Ends the target that is named unless root runs it, and says what else would be missing.
define needs_root
[[ $$EUID -eq 0 ]] || { echo "make $(1): needs root (mounts, containers, packages): become root and run make $(1) again" >&2; \
	hack/install-packages build run test; exit 1; }
endef
