//! Real stacks, and what is left of them. Few starts, because each takes seconds.

#[cfg(test)]
mod support;

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use posthaste_stack::{Error, Part, PortSet, Ports, Stack, StackOptions, temporary};
use support::{
    create_topic, data_directory, execute, free_port, http, kill_outside, living, mode, processes, register,
    relay,
};

const PARTS: [Part; 3] = [Part::Postgres, Part::Kafka, Part::Registry];
const TOPIC_EXISTS: i16 = 36;

#[tokio::test]
async fn a_stack_survives_crashes_restarts_and_a_second_start_with_its_data() {
    let directory = tempfile::Builder::new()
        .permissions(mode(0o755))
        .tempdir()
        .unwrap();
    let stack = Stack::start(StackOptions::new(directory.path())).await.unwrap();

    execute(stack.database_url(), "CREATE TABLE kept AS SELECT 1").await;
    assert_eq!(create_topic(stack.kafka_bootstrap()), 0);
    let schema_id = register(stack.registry_url());
    assert!(http(stack.registry_url(), "GET", "/config", "").contains("BACKWARD"));

    let error = Stack::start(StackOptions::new(directory.path()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InUse { pid, .. } if pid == std::process::id().to_string()));

    let interfere = async {
        for part in PARTS {
            stack.kill(part).await.unwrap();
            assert!(matches!(stack.kill(part).await, Err(Error::NotRunning(_))));
            stack.restart(part).await.unwrap();
        }
        stack.pause(Part::Postgres).await.unwrap();
        stack.resume(Part::Postgres).await.unwrap();
        stack.restart(Part::Postgres).await.unwrap();
        kill_outside(directory.path(), "kafka");
        std::future::pending().await
    };
    // What is done to a part through the stack is no death, and the last thing is not done through it.
    let (part, text) = tokio::select! {
        death = stack.died() => death,
        () = interfere => unreachable!("it waits for the death"),
    };
    assert_eq!(part, Part::Kafka);
    assert!(text.ends_with("logs/kafka.log)"), "{text}");
    assert_eq!(living(&processes(directory.path())).len(), PARTS.len() - 1);
    stack.restart(part).await.unwrap();
    // The addresses are still those of the first start.
    execute(stack.database_tcp_url(), "INSERT INTO kept VALUES (2)").await;
    assert_eq!(create_topic(stack.kafka_bootstrap()), TOPIC_EXISTS);
    assert_eq!(register(stack.registry_url()), schema_id);

    let processes = processes(directory.path());
    assert_eq!(processes.len(), PARTS.len());
    stack.stop().await.unwrap();
    assert_eq!(living(&processes), [0; 0]);

    let stack = Stack::start(StackOptions::new(directory.path())).await.unwrap();
    execute(stack.database_url(), "INSERT INTO kept VALUES (3)").await;
    assert_eq!(create_topic(stack.kafka_bootstrap()), TOPIC_EXISTS);
    assert_eq!(register(stack.registry_url()), schema_id);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_temporary_stack_leaves_neither_processes_nor_files() {
    // On a task of its own: a start can be sent to another thread.
    let stack = tokio::spawn(temporary()).await.unwrap().unwrap();
    let directory = data_directory(stack.database_url());
    let processes = processes(&directory);
    assert_eq!(processes.len(), PARTS.len());
    // Paused ones do not hear a polite signal.
    stack.pause(Part::Kafka).await.unwrap();
    drop(stack);
    assert_eq!(living(&processes), [0; 0]);
    assert!(!directory.exists());
}

#[test]
fn a_killed_process_leaves_no_part_running() {
    let directory = tempfile::Builder::new()
        .permissions(mode(0o755))
        .tempdir()
        .unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run_a_stack_until_killed", "--ignored", "--nocapture"])
        .env("STACK_DIRECTORY", directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("the stack runs")));
    let processes = processes(directory.path());
    assert_eq!(processes.len(), PARTS.len());
    parent.kill().unwrap();
    parent.wait().unwrap();

    // The watchers give the parts a few seconds to end in order.
    let begun = Instant::now();
    while !living(&processes).is_empty() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(living(&processes), [0; 0]);
}

#[tokio::test]
#[ignore = "the process that another test kills"]
async fn run_a_stack_until_killed() {
    let Some(directory) = std::env::var_os("STACK_DIRECTORY") else {
        return;
    };
    let _stack = Stack::start(StackOptions::new(directory)).await.unwrap();
    writeln!(io::stdout(), "the stack runs").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn two_stacks_that_start_at_once_and_prefer_the_same_ports_each_run_on_their_own() {
    let ports = Ports::Preferred(PortSet {
        postgres: free_port(),
        kafka: free_port(),
        registry: free_port(),
    });
    let start = async || {
        let directory = tempfile::Builder::new()
            .prefix("a stack ")
            .permissions(mode(0o755))
            .tempdir()
            .unwrap();
        let mut options = StackOptions::new(directory.path());
        options.ports = ports;
        (Box::pin(Stack::start(options)).await.unwrap(), directory)
    };
    let stacks = tokio::join!(start(), start());
    let stacks = [stacks.0, stacks.1];
    for address in [
        Stack::database_tcp_url,
        Stack::kafka_bootstrap,
        Stack::registry_url,
    ] {
        assert_ne!(address(&stacks[0].0), address(&stacks[1].0));
    }
    for (stack, _directory) in &stacks {
        // In the other's they would exist by the second turn.
        execute(stack.database_tcp_url(), "CREATE TABLE kept AS SELECT 1").await;
        assert_eq!(create_topic(stack.kafka_bootstrap()), 0);
    }

    // Where the other's part answers on a port, it is not taken for the one that could not have the port.
    let [(first, _), (second, _)] = &stacks;
    for (part, address) in [
        (Part::Kafka, Stack::kafka_bootstrap as fn(&Stack) -> &str),
        (Part::Registry, Stack::registry_url),
        (Part::Postgres, Stack::database_tcp_url),
    ] {
        first.kill(part).await.unwrap();
        let relay = relay(address(first), address(second)).await;
        let error = first.restart(part).await.unwrap_err();
        assert!(
            matches!(error, Error::Ended { part: named, .. } if named == part),
            "{error}"
        );
        relay.abort();
    }
    for (stack, _directory) in stacks {
        stack.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_data_directory_that_kafka_cannot_name_is_refused() {
    let directory = tempfile::Builder::new()
        .permissions(mode(0o755))
        .tempdir()
        .unwrap();
    for name in ["a,b", r"a\b", "ä"] {
        let mut options = StackOptions::new(directory.path().join(name));
        options.database_url = Some("postgresql://db.internal/tasks".into());
        options.registry_url = Some("http://registry.internal".into());
        let error = Stack::start(options).await.unwrap_err();
        assert!(
            matches!(&error, Error::KafkaPath { path } if path.to_string_lossy().contains(name)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn parts_given_by_address_are_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = StackOptions::new(directory.path());
    options.database_url = Some("postgresql://db.internal/tasks".into());
    options.kafka = Some("kafka.internal:9092".into());
    options.registry_url = Some("http://registry.internal".into());
    let stack = Stack::start(options).await.unwrap();
    assert_eq!(stack.database_url(), "postgresql://db.internal/tasks");
    assert_eq!(stack.kafka_bootstrap(), "kafka.internal:9092");
    assert_eq!(stack.registry_url(), "http://registry.internal");
    for part in PARTS {
        assert!(matches!(stack.restart(part).await, Err(Error::NotManaged(named)) if named == part));
    }
}
