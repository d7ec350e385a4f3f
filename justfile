# The commands of a working day. `just verify` is what CI runs.

# List the commands.
default:
    @just --list

# Bring everything up and show a task's result.
dev *args:
    scripts/dev {{args}}

# Every check and every test.
verify:
    scripts/test

# Format.
fmt:
    cargo fmt --all

# Lint.
lint:
    cargo clippy --workspace --all-targets -- --deny warnings

# The tests of one crate: just test types
test crate *args:
    cargo test -p posthaste-{{crate}} {{args}}

# The scenarios on real Postgres, Kafka and registry.
it *args:
    cargo test -p posthaste-integration-tests {{args}}

# Measure the round trip of a running server.
bench *args:
    cargo run --release -- bench round-trip {{args}}

# Check Dockerfile and Compose file without an engine.
docker-check:
    docker/check
