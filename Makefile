# The World Stream Producer. `make demo` and `make test` need a Rust toolchain and
# package registries, nothing else.

CARGO ?= cargo
# Not `-p wsp-cli`: with the features of the whole workspace, `make demo` and `make test`
# share what they compile.
WSP_CLI = $(CARGO) run --quiet --bin wsp-cli --

.PHONY: help demo test check-image screenshots check fmt loom simulate simulate-bugs simulate-same fuzz soak bench bench-push man docs reference audit release-fixtures release-check platform-wsp-ready-once

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 28

# A build of its own, for the sake of the first minutes: not optimised, without the allocator, the
# page, databases, buckets and reqwest. What it shows is the same.
demo: ## Make a world, stream it, kill the stream half-way, resume, prove that nothing was lost
	@echo 'make demo: builds a small wsp-cli (about 4 minutes on 2 cores the first time, seconds after' >&2
	@echo 'that), makes a world of 60,000 events, streams it into a stand-in gate, kills the stream' >&2
	@echo 'half-way, starts it again, and counts what came (about a minute).' >&2
	@$(CARGO) build --quiet --locked --profile demo --package wsp-cli --no-default-features
	@rm -rf .demo
	@mkdir .demo
	@target/demo/wsp-cli demo --folder .demo/world >.demo/proof.json
	@echo '  make test                 # everything that CI runs' >&2

test: ## Everything that CI runs: format, lints, docs, tests
	scripts/test

check: ## The fast part of it: format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

screenshots: ## Pictures of the live page, light and dark, narrow and wide, into docs/img
	scripts/ensure-browser
	WSP_SCREENSHOTS="$(CURDIR)/docs/img" $(CARGO) test --workspace --test system -- --ignored --nocapture screenshots_of_the_page

fmt: ## Format
	$(CARGO) fmt --all

loom: ## Every order in which threads may meet at meters, window, sending and steering
	$(CARGO) test -p replay --features loom --lib models

simulate: ## Seeds of the simulated system: SEEDS=1000, MINUTES=…, FIRST=1, or SEED=… with its trace
	@$(CARGO) run --quiet --release --workspace --bin simulate -- $(if $(SEED),--seed $(SEED)) \
		$(if $(FIRST),--first $(FIRST)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES))

simulate-bugs: ## Plant bugs in the production code, and see that the simulation finds each
	$(CARGO) test -p simulation --features planted-bugs --test planted -- --nocapture

fuzz: ## Every parser under random bytes: MINUTES=1 of each target, or TARGETS='seal …'
	@CARGO="$(CARGO)" MINUTES=$(or $(MINUTES),1) $(if $(TARGETS),TARGETS='$(TARGETS)') scripts/fuzz

simulate-same: ## See that seeds give the same traces in debug and release, byte for byte: SEEDS=100
	scripts/simulate-same $(SEEDS)

soak: ## The long forms of crash, race and outage tests (hours)
	scripts/test soak

bench: ## The figures of docs/benchmarks.md
	scripts/bench

bench-push: ## Events a second of the whole job beside bare posts by wrk
	scripts/bench push

check-image: ## Build the container image's last stage with buildah, start it, stream the demo in it
	$(CARGO) build --workspace --bins
	scripts/check-image

man: ## Manual pages of all commands, into target/man
	@$(WSP_CLI) man --folder target/man >/dev/null
	@echo 'target/man' >&2

docs: ## The pages as a book, into target/book
	scripts/docs

reference: ## The pages that the program writes: command line, keys of a profile
	@$(CARGO) build --quiet --workspace --bins
	WSP_REFERENCE=write $(CARGO) test --quiet --workspace --test docs -- reference

release-fixtures: ## What this version leaves behind, for later ones to read: tests/fixtures/releases/<version>; AGAIN=1 replaces it
	$(CARGO) build --workspace --bins
	$(CARGO) run --quiet --workspace --bin release-fixtures -- $(if $(AGAIN),--again)

release-check: ## What a release owes those who link its crates; STEPS='alone features api semver', BASE=<revision>, BLESS=1
	@CARGO="$(CARGO)" BASE="$(BASE)" BLESS="$(BLESS)" scripts/release-check $(STEPS)

audit: ## Licences, bans and sources of all dependencies
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check bans licenses sources

platform-wsp-ready-once: ## Stream a bounded number of events: WSP_PROFILE, WSP_ENGINE_RUN_ROOT, WSP_MAX_EVENTS, maybe WSP_SCENARIO_ID, WSP_OUTPUT_IDS
	@test -n "$(WSP_PROFILE)" || { echo "set WSP_PROFILE to a profile" >&2; exit 2; }
	@test -n "$(WSP_ENGINE_RUN_ROOT)" || { echo "set WSP_ENGINE_RUN_ROOT to an engine run root" >&2; exit 2; }
	@test -n "$(WSP_MAX_EVENTS)" || { echo "set WSP_MAX_EVENTS: this target never streams without a bound" >&2; exit 2; }
	@scripts/with-env $(WSP_CLI) stream --profile "$(WSP_PROFILE)" \
		--engine-run-root "$(WSP_ENGINE_RUN_ROOT)" --max-events "$(WSP_MAX_EVENTS)" \
		$(if $(WSP_SCENARIO_ID),--scenario-id "$(WSP_SCENARIO_ID)") \
		$(if $(WSP_OUTPUT_IDS),--output-ids "$(WSP_OUTPUT_IDS)")
