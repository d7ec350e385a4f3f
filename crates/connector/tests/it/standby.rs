//! A standby is promoted, and the connector follows. From Postgres 17 on the standby has a copy of the slot.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use posthaste_broker::Record;
use posthaste_connector::Delivery;
use posthaste_stack::{Part, Stack, StackOptions, temporary_with};
use posthaste_types::topics;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::Client;

use crate::common::{Outbox, connect, eventually, values_of};
use crate::history::{data_directory, run};

const NOBODY: &str = "127.0.0.1:9";

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_of_17_is_followed_and_no_row_is_lost_or_repeated() {
    follow(17, Delivery::AtLeastOnce, Way::OneAddress).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_of_18_is_followed_and_no_row_is_lost_or_repeated_in_transactions() {
    follow(18, Delivery::ExactlyOnce, Way::BothNamed).await;
}

/// How the connector finds the server that is not a standby.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// An address leads to it.
    OneAddress,
    /// Its URL names both, and asks for the one that can be written to.
    BothNamed,
}

async fn follow(postgres_major: u32, delivery: Delivery, way: Way) {
    let pair = Pair::start(postgres_major).await;
    let mut outbox = Outbox::new(&pair.first).await;
    outbox.options.delivery = delivery;
    // What was published is confirmed late, and the copy of the slot is older still: rows come again from the log.
    outbox.options.status_interval_ms = 1000;
    let topic = outbox.topic("pair", 2, &[]).await;
    pair.stream_to_second(&outbox.client).await;
    let address = Address::of(&pair.first).await;
    let connector = outbox.start_at(&match way {
        Way::OneAddress => address.url.clone(),
        Way::BothNamed => pair.url_of_both(),
    });
    let mut written = 0;
    write(&outbox, &topic, &mut written, 50).await;
    let standby = connect(pair.second.database_url()).await;
    eventually("the standby to have the slot", async || {
        // The copy counts once the slot has moved past where the copy began.
        outbox.client.batch_execute("checkpoint").await.unwrap();
        write(&outbox, &topic, &mut written, 1).await;
        let copy = "select coalesce(bool_or(to_jsonb(slot) @> '{\"synced\": true, \"failover\": true, \"temporary\": false}'), false)
            from pg_replication_slots slot where slot_name = $1";
        standby
            .query_one(copy, &[&outbox.options.slot])
            .await
            .unwrap()
            .get(0)
    })
    .await;
    write(&outbox, &topic, &mut written, 500).await;

    pair.first.kill(Part::Postgres).await.unwrap();
    standby.query("select pg_promote(true)", &[]).await.unwrap();
    address.lead_to(&pair.second);
    outbox.client = connect(pair.second.database_url()).await;
    write(&outbox, &topic, &mut written, 500).await;
    let records = outbox.read_all(&topic).await;
    let wanted: Vec<String> = (0..written).map(|number| number.to_string()).collect();
    for key in ["a", "b"] {
        assert_eq!(values_of(&records, key), wanted);
    }
    assert_eq!(timelines(&records), ["1", "2"]);
    let slot = outbox.options.slot.as_str();
    let made_here =
        "select to_jsonb(slot) @> '{\"synced\": true, \"failover\": true}' from pg_replication_slots slot
        where slot_name = $1";
    let row = outbox.client.query_one(made_here, &[&slot]).await.unwrap();
    assert!(row.get::<_, bool>(0), "it is the copy, and is copied on");
    connector.stop().await;
    pair.second.stop().await.unwrap();
    pair.first.stop().await.unwrap();
}

/// Two servers, the second of which is made a standby of the first.
struct Pair {
    first: Stack,
    second: Stack,
}

impl Pair {
    async fn start(postgres_major: u32) -> Self {
        let of_major = |options| StackOptions {
            postgres_major: Some(postgres_major),
            registry_url: Some(NOBODY.to_owned()),
            ..options
        };
        Self {
            first: temporary_with(of_major).await.unwrap(),
            second: temporary_with(|options| of_major(options.postgres_alone()))
                .await
                .unwrap(),
        }
    }

    fn url_of_both(&self) -> String {
        let [first, second] = [&self.first, &self.second].map(port_of);
        format!(
            "postgresql://posthaste@127.0.0.1:{second},127.0.0.1:{first}/posthaste?target_session_attrs=read-write"
        )
    }

    /// Makes the second server a standby, without which nothing commits and nothing is published from here on.
    async fn stream_to_second(&self, first: &Client) {
        let ours = data_directory(first).await;
        let theirs = data_directory(&connect(self.second.database_url()).await).await;
        self.second.kill(Part::Postgres).await.unwrap();
        run("rm", &["-r".as_ref(), theirs.as_os_str()]);
        let slot = "select pg_create_physical_replication_slot('standby', true)";
        first.execute(slot, &[]).await.unwrap();
        let begin = "select pg_backup_start('standby', true)";
        first.execute(begin, &[]).await.unwrap();
        // Files may vanish under it, as they may under every copy of a running server.
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(&ours).arg(&theirs).stderr(Stdio::null());
        copy.status().unwrap();
        let label = first
            .query_one("select labelfile from pg_backup_stop()", &[])
            .await
            .unwrap();
        write_file(&theirs, "backup_label", label.get(0));
        write_file(&theirs, "standby.signal", "");
        std::fs::remove_file(theirs.join("postmaster.pid")).unwrap();
        // As every program that makes standbys does: slots are the first server's, and its log comes by the stream.
        for name in ["pg_replslot", "pg_wal"] {
            let inner = theirs.join(name);
            run(
                "find",
                &[
                    inner.as_os_str(),
                    "-mindepth".as_ref(),
                    "1".as_ref(),
                    "-delete".as_ref(),
                ],
            );
        }
        let port = port_of(&self.first);
        let settings = format!(
            "primary_conninfo = 'host=127.0.0.1 port={port} user=posthaste dbname=posthaste application_name=standby'\n\
             primary_slot_name = 'standby'\nhot_standby_feedback = on\nsync_replication_slots = on\n"
        );
        let known = std::fs::read_to_string(theirs.join("posthaste.conf")).unwrap();
        write_file(&theirs, "posthaste.conf", &(known + &settings));
        crate::common::restart(&self.second, Part::Postgres).await;
        for command in [
            "alter system set synchronous_standby_names = 'standby'",
            "alter system set synchronized_standby_slots = 'standby'",
            "select pg_reload_conf()",
        ] {
            first.batch_execute(command).await.unwrap();
        }
    }
}

/// An address that leads to one server after the other, as that of a cluster does.
struct Address {
    url: String,
    port: Arc<AtomicU16>,
}

impl Address {
    async fn of(stack: &Stack) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = Arc::new(AtomicU16::new(port_of(stack)));
        let here = listener.local_addr().unwrap().port();
        let url = stack
            .database_tcp_url()
            .replace(&port_of(stack).to_string(), &here.to_string());
        let target = Arc::clone(&port);
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let port = target.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let _ends_with_either = copy_bidirectional(&mut caller, &mut server).await;
                });
            }
        });
        Self { url, port }
    }

    fn lead_to(&self, stack: &Stack) {
        self.port.store(port_of(stack), Ordering::Relaxed);
    }
}

fn port_of(stack: &Stack) -> u16 {
    let config: tokio_postgres::Config = stack.database_tcp_url().parse().unwrap();
    config.get_ports()[0]
}

fn write_file(directory: &Path, name: &str, text: &str) {
    let path: PathBuf = directory.join(name);
    std::fs::write(&path, text).unwrap();
    // The server, which may be another user's, has to remove it.
    let owner: &OsStr = directory.as_os_str();
    run("chown", &["--reference".as_ref(), owner, path.as_os_str()]);
}

async fn write(outbox: &Outbox, topic: &str, written: &mut usize, count: usize) {
    for _ in 0..count {
        let value = written.to_string();
        outbox
            .insert(topic, &[("a", value.as_bytes()), ("b", value.as_bytes())])
            .await;
        *written += 1;
    }
}

/// The timelines of the positions, each once, in order.
fn timelines(records: &[Record]) -> Vec<String> {
    let positions = records.iter().map(|record| {
        let position = record.header(topics::HEADER_POSITION).unwrap();
        let position = std::str::from_utf8(position).unwrap();
        position.split(':').nth(1).unwrap().to_owned()
    });
    let mut timelines: Vec<String> = positions.collect();
    timelines.sort_unstable();
    timelines.dedup();
    timelines
}
