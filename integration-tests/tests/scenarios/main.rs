//! Starts one stack, runs every scenario on it one after another, and stops it: nothing is left behind.

#![expect(clippy::print_stderr, reason = "a test run tells what it is doing")]

mod bad_input;
mod clients;
mod crashes;
mod debezium;
mod dev;
mod hostile;
mod idempotency;
mod interop;
mod keys;
mod limits;
mod load;
mod logs;
mod outages;
mod paused;
mod process;
mod racing_keys;
mod receiver;
mod revoked;
mod round_trip;
mod shutdown;
mod sql_submitters;
mod sse;
mod tenants;
mod wires;
mod world;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use crate::world::World;

type Scenario = fn(Arc<World>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// Makes a table of scenarios, each named after its function.
macro_rules! scenarios {
    ($($module:ident::$name:ident,)+) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), |world| Box::pin($module::$name(world)))),+]
    };
}

const SCENARIOS: &[(&str, Scenario)] = scenarios![
    round_trip::result_comes_by_short_poll,
    round_trip::result_comes_by_long_poll,
    round_trip::result_comes_with_the_submission_when_the_caller_waits,
    round_trip::result_comes_by_server_sent_events,
    round_trip::task_stream_ends_after_the_final_event,
    round_trip::result_comes_by_webhook,
    round_trip::batch_answers_each_task_in_order,
    round_trip::delayed_task_runs_when_due,
    round_trip::cancelled_task_never_runs,
    round_trip::stream_resumes_without_gap_or_repeat,
    idempotency::racing_requests_under_one_key_make_one_task,
    bad_input::every_route_answers_bad_input_with_a_problem,
    racing_keys::racing_requests_at_a_dying_process_make_one_task,
    tenants::another_tenants_things_are_not_there,
    sql_submitters::sql_takes_the_tenants_that_the_command_line_takes,
    sql_submitters::who_may_submit_in_sql_is_told_by_the_audit_log,
    revoked::revoked_key_is_refused_and_its_streams_end,
    limits::limits_change_while_processes_run,
    hostile::hostile_requests_get_their_documented_answers,
    hostile::hostile_callers_get_their_documented_answers,
    hostile::answers_that_nobody_takes_are_bounded,
    bad_input::poison_records_go_to_the_dead_letters_and_the_rest_goes_on,
    shutdown::stop_under_load_cuts_no_request_and_loses_no_task,
    crashes::killed_ingest_loses_nothing,
    crashes::killed_connector_loses_and_repeats_nothing,
    crashes::killed_worker_loses_nothing_and_runs_to_one_end,
    crashes::killed_delivery_resumes_streams,
    crashes::killed_whole_loses_and_repeats_nothing,
    outages::kafka_restart_under_load_loses_nothing,
    outages::postgres_restart_under_load_loses_nothing,
    paused::a_pause_holds_over_a_killed_connector_and_ends_over_http,
    wires::each_part_works_with_its_own_rights_over_tls,
    wires::what_is_refused_is_told_and_tried_again,
    debezium::both_give_the_same_key_value_and_headers,
    debezium::a_slot_moves_to_debezium_and_back_without_loss,
    debezium::round_trips_are_the_same_with_debezium,
    interop::clients_of_others_are_content,
    clients::tours_of_the_examples_go_through,
    clients::every_route_answers_as_the_document_says,
    dev::dev_shows_a_result_and_leaves_nothing_behind,
    dev::dev_stops_and_says_why_when_a_part_dies,
    dev::dev_killed_hard_starts_again_on_its_data,
    // The last: it reads what all others have logged.
    logs::no_process_has_logged_a_secret,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Scenarios kill and restart what they share.
    arguments.test_threads = Some(1);
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let world = if arguments.list {
        None
    } else {
        eprintln!("starting Postgres, Kafka and the registry");
        Some(Arc::new(
            runtime.block_on(World::start()).expect("the stack starts"),
        ))
    };
    let without_interop = !interop::is_possible();
    let without_debezium = match &world {
        Some(world) => !runtime.block_on(debezium::is_possible(world)),
        None => false,
    };
    let trials = SCENARIOS.iter().map(|(name, scenario)| {
        let (runtime, world) = (Arc::clone(&runtime), world.clone());
        let is_ignored = (without_interop && name.starts_with("interop::"))
            || (without_debezium && name.starts_with("debezium::"));
        Trial::test(*name, move || {
            let world = world.expect("listing runs nothing");
            runtime
                .block_on(scenario(world))
                .map_err(|error| format!("{error:?}").into())
        })
        .with_ignored_flag(is_ignored)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(world) = world.and_then(Arc::into_inner) {
        runtime.block_on(world.stop()).expect("the stack stops");
    }
    conclusion.exit_code()
}
