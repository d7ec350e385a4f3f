//! The executable's entry: the allocator, the choice of the command, the exit code. Holds no logic.

mod check;
mod cli;
mod commands;
mod config;
mod dev;
mod exit;
mod front;
mod migrate;
mod output;
mod parts;
mod roles;
mod serve;
mod settings;
mod shutdown;

use std::process::ExitCode;

use posthaste_runtime::telemetry;

use cli::{Bench, Cli, Command, Target};
use exit::Outcome;
use parts::Parts;
use roles::Role;
use settings::Settings;

/// An idle stream costs 6.8 KB with it and 10.9 KB with glibc's; its threads give memory back when load goes.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let Cli { target, command } = Cli::read();
    let json = target.json;
    exit::code(run(target, command), json)
}

fn run(target: Target, command: Command) -> anyhow::Result<Outcome> {
    // The bench has a runtime of its own, on one thread.
    if let Command::Bench(Bench::RoundTrip(options)) = command {
        return bench(&target, options);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(Box::pin(dispatch(target, command)));
    // What still blocks a thread (a look-up, a read of standard input) is not waited for.
    runtime.shutdown_background();
    result
}

async fn dispatch(target: Target, command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Dev(dev) => dev.run(&target).await,
        Command::Ingest(settings) => roles::run_alone(Role::Ingest, &settings.load()?.value).await,
        Command::Connector(connector) => connector.run(&target).await,
        Command::Worker(settings) => roles::run_alone(Role::Worker, &settings.load()?.value).await,
        Command::Delivery(settings) => roles::run_alone(Role::Delivery, &settings.load()?.value).await,
        Command::Scheduler(settings) => roles::run_alone(Role::Scheduler, &settings.load()?.value).await,
        Command::Migrate(settings) => migrate(&settings).await,
        Command::Config(settings) => show_config(&settings, &target),
        Command::Health => health(&target).await,
        Command::Submit(submit) => submit.run(&target).await,
        Command::Watch(watch) => watch.run(&target).await,
        Command::Tasks(tasks) => tasks.run(&target).await,
        Command::Keys(keys) => keys.run(&target).await,
        Command::Tenants(tenants) => tenants.run(&target).await,
        Command::StreamTokens(tokens) => tokens.run(&target).await,
        Command::Audit(audit) => audit.run(&target).await,
        Command::Endpoints(endpoints) => endpoints.run(&target).await,
        Command::Bench(_) => unreachable!("it was dealt with before there was a runtime"),
    }
}

fn bench(target: &Target, mut options: posthaste_bench::RoundTrip) -> anyhow::Result<Outcome> {
    options.quiet |= target.json;
    let report = posthaste_bench::round_trip(&target.url, &options)?;
    if target.json {
        output::json(&report)?;
    } else {
        output::line(&report)?;
    }
    Ok(if report.is_clean() {
        Outcome::Done
    } else {
        Outcome::Negative
    })
}

async fn migrate(settings: &Settings) -> anyhow::Result<Outcome> {
    let config = settings.load()?.value;
    telemetry::init_logs(&config.log)?;
    let parts = Parts::new(&config, "migrate")?;
    migrate::migrate(&config, &parts, &|text| output::note(text)).await?;
    if !parts.store.has_keys().await? {
        output::note(
            "there is no API key yet; make the first one: posthaste keys create --name admin --scopes admin",
        );
    }
    Ok(Outcome::Done)
}

fn show_config(settings: &Settings, target: &Target) -> anyhow::Result<Outcome> {
    let loaded = settings.load()?;
    if target.json {
        output::json(&loaded.value)?;
    } else {
        output::line(loaded.to_toml()?.trim_end())?;
    }
    // After it was shown: that is how one sees where the mistake comes from.
    check::all(&loaded.value)?;
    Ok(Outcome::Done)
}

async fn health(target: &Target) -> anyhow::Result<Outcome> {
    // Probes are often told the whole address.
    let url = target.url.strip_suffix("/readyz").unwrap_or(&target.url);
    let is_ready = target.client_of(url)?.is_ready().await?;
    if target.json {
        output::json(&serde_json::json!({ "ready": is_ready }))?;
    } else {
        output::line(if is_ready { "ready" } else { "not ready" })?;
    }
    Ok(if is_ready {
        Outcome::Done
    } else {
        Outcome::Negative
    })
}
