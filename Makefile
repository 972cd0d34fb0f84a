# Every target installs what it needs when it is missing; only Rust itself is assumed.

CARGO ?= cargo
# Most tests wait for servers rather than compute.
TEST_THREADS ?= 4
# Tests with fakes start no process and compute little.
FAST_TEST_THREADS ?= 10
# For `make peer-bench` and `make failover-bench` (`--help` lists them), and `make growth`
# (`--write-docs`, subjects).
ARGS ?=
# Property tests try the same cases in every run, so that one that is green stays green; to look for
# new ones: `make test PROPTEST_RNG_SEED=$$RANDOM PROPTEST_CASES=100000`.
PROPTEST_RNG_SEED ?= 1
export PROPTEST_RNG_SEED
# Another redis-server, or a valkey-server. Tests run in the folders of their packages, so a path must
# not depend on where one is.
ifneq ($(findstring /,$(REDIS_SERVER)),)
override REDIS_SERVER := $(abspath $(REDIS_SERVER))
export REDIS_SERVER
endif
# What to fuzz, and each for how long.
TARGET ?= codec sentinel_reply event url position token
SECONDS ?= 60
# How long to soak, with which faults, and on which kind of deployment (plain, without-events,
# two-spellings, balanced). The seed is chosen and printed when none is given; it decides on the kind.
MINUTES ?= 20
# How many reads that must have seen something to soak with at least; a million takes a quarter of an hour.
READS ?= 1000000
SEED ?=
DEPLOYMENT ?=

.DEFAULT_GOAL := help
.PHONY: help demo page page-pictures grafana-check test test-fast soak lint bench fresh-bench peer-bench failover-bench growth fuzz deny msrv redis-next windows package api api-check build-all cluster redis

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: redis ## a real failover under load, told as it happens
	$(CARGO) run --release --locked --example failover

page: redis ## the live page of examples/web on servers with load; LISTEN=127.0.0.1:3333, until Ctrl-C
	@$(CARGO) run --release --locked --features serde --example page

page-pictures: redis ## look at the live page in Chromium during a failover; writes docs/images (Debian: chromium)
	@scripts/page-pictures

grafana-check: redis ## docs/grafana in a real Prometheus, which scrapes the web example through failovers; two minutes
	@scripts/need-prometheus
	$(CARGO) build --locked --features serde --example web
	$(CARGO) run --locked --package redis-rw-pool-testkit --bin grafana-check

test: redis ## every test, on real Redis and Sentinel processes; some five minutes on two cores
	$(CARGO) test --workspace --all-features --locked -- --test-threads $(TEST_THREADS)

# A test with a real server fails here, since there is no program of that name: it belongs outside of
# the modules named `fakes`. Property tests try fewer cases. Left out are the models, which try thousands
# of interleavings each, and the one unit test that asks a server. Both commands build what `make test`
# builds.
FAST_TEST := REDIS_SERVER=no-server-in-test-fast PROPTEST_CASES=64 $(CARGO) test --workspace --all-features --locked
test-fast: ## unit tests and the tests with fake servers, without redis-server; under 30 seconds
	$(FAST_TEST) --lib -- --skip ::model:: --skip the_server_at_hand_agrees
	$(FAST_TEST) --test it fakes:: -- --test-threads $(FAST_TEST_THREADS)

soak: redis ## random faults under load for MINUTES (20), then READS (1000000) fresh reads; SEED=, DEPLOYMENT=
	SOAK_MINUTES=$(MINUTES) SOAK_SEED=$(SEED) SOAK_DEPLOYMENT=$(DEPLOYMENT) \
		$(CARGO) test --locked --test soak -- \
		--nocapture --exact the_rules_hold_under_random_faults
	SOAK_READS=$(READS) SOAK_SEED=$(SEED) \
		$(CARGO) test --locked --test soak -- \
		--nocapture --exact no_read_with_a_token_is_stale_under_faults

lint: ## formatting, clippy, documentation; warnings are errors
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings
	# With the examples come the features of dev-dependencies, with which clippy has checked everything.
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features --locked --lib --bins --examples

bench: redis ## checkout, commands and decoder beside other pools and parsers; some minutes
	$(CARGO) bench --locked --features unstable-internals --bench contention --bench command --bench codec

fresh-bench: redis ## what fresh reads cost, and who serves them; a minute
	$(CARGO) bench --locked --bench freshness

peer-bench: redis ## ours and its peers side by side, in one table; some twenty minutes, ARGS=--quick about a minute
	$(CARGO) run --profile bench --locked --package redis-rw-pool-peer-bench --bin peer-bench \
		$(if $(findstring --tls,$(ARGS)),--features rustis-tls) -- $(ARGS)

failover-bench: redis ## what callers notice of failovers, with ours and with its peers; twenty minutes, ARGS=--quick a minute and a half
	$(CARGO) run --profile bench --locked --package redis-rw-pool-peer-bench --bin failover-bench -- $(ARGS)

growth: redis ## how cost grows with callers, connections, replicas, replies, pools; some five minutes
	$(CARGO) bench --locked --bench growth -- $(ARGS)

fuzz: ## fuzz each TARGET (all of them) for SECONDS (60), from the committed corpora
	@scripts/need-cargo-tool fuzz
	@set -e; for target in $(TARGET); do \
		mkdir -p fuzz/target/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -s none \
			fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(SECONDS) -max_len=4096; \
	done

deny: ## licences, bans and sources of every dependency
	@scripts/need-cargo-tool deny
	$(CARGO) deny check licenses bans sources

msrv: ## the library with the oldest Rust that Cargo.toml promises
	@scripts/check-msrv

redis-next: ## the library against the coming major version of the redis crate; REDIS_2=2.0.0-rc.2
	@scripts/check-redis-2

windows: ## the library for Windows, which rustup adds as a target
	rustup target add x86_64-pc-windows-gnu
	# A provider of cryptography would need a C compiler for that target.
	$(CARGO) check --locked --lib --features json,serde,tls-native-roots,tls-webpki-roots --target x86_64-pc-windows-gnu

package: ## what would be published builds, without warnings, and the links of its pages lead somewhere
	@scripts/check-package

api: ## write docs/public-api.txt, which shows every change of the public API in its diff
	@scripts/list-public-api

api-check: ## docs/public-api.txt is what the code says
	@scripts/list-public-api --check

# The library without features, and with each that is used by itself. `make lint` has all at once.
FEATURES := json metrics serde stream tls tls-ring,tls-webpki-roots tls-aws-lc-rs,tls-native-roots
# `make lint` checks benchmarks and examples, and `make test` builds the examples.
build-all: ## what neither lint nor tests check: fuzz targets; the library with each feature by itself
	# A check does not link, so libFuzzer need not be compiled.
	CUSTOM_LIBFUZZER_PATH=/nowhere/libfuzzer.a CARGO_TARGET_DIR=target \
		$(CARGO) check --locked --manifest-path fuzz/Cargo.toml
	@set -e; without_c=$$(scripts/without-c); for features in '' $(FEATURES); do \
		echo "clippy: features '$$features'"; \
		$(CARGO) clippy --quiet --locked --lib --no-default-features --features "$$features" \
			--config "$$without_c" -- -D warnings; \
	done

cluster: redis ## one master, two replicas, three Sentinels on ports 6379 and 26379, until Ctrl-C; TLS=yes
	@$(CARGO) run --quiet --locked --package redis-rw-pool-testkit --bin cluster

redis:
	@scripts/need-redis
