//! A connector that is cut off from the database loses the slot to another, and stops.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use posthaste_connector::Delivery;

use crate::common::{Outbox, eventually, values_of, within};
use crate::with_stack;

/// A way to the database that can be cut: its connections then stay open and nothing comes through.
struct Way {
    port: u16,
    is_cut: Arc<watch::Sender<bool>>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            port: listener.local_addr().unwrap().port(),
            is_cut: Arc::new(watch::Sender::new(false)),
        };
        let is_cut = Arc::clone(&this.is_cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = TcpStream::connect(("127.0.0.1", port))
                    .await
                    .unwrap()
                    .into_split();
                tokio::spawn(carry(from_client, to_server, is_cut.subscribe()));
                tokio::spawn(carry(from_server, to_client, is_cut.subscribe()));
            }
        });
        this
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        if is_cut.wait_for(|is_cut| !is_cut).await.is_err() || to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}

#[test]
fn a_connector_that_is_cut_off_gives_way_to_another() {
    cut_off(Delivery::AtLeastOnce);
}

#[test]
fn a_connector_that_is_cut_off_gives_way_to_another_in_transactions() {
    cut_off(Delivery::ExactlyOnce);
}

fn cut_off(delivery: Delivery) {
    with_stack(move |stack| async move {
        let mut outbox = Outbox::new(stack).await;
        outbox.options.delivery = delivery;
        let topic = outbox.topic("cut", 2, &[]).await;
        let direct = stack.database_tcp_url();
        let port = direct.rsplit(':').next().unwrap().split('/').next().unwrap();
        let way = Way::to(port.parse().unwrap()).await;
        let mut first = outbox.start_at(&direct.replace(port, &way.port.to_string()));
        assert!(within("the first to stream", first.health.streaming()).await);
        let mut second = outbox.start();
        let mut written = 0;
        let write = async |from: usize| {
            for number in from..from + 300 {
                let value = number.to_string();
                outbox
                    .insert(&topic, &[("a", value.as_bytes()), ("b", value.as_bytes())])
                    .await;
            }
            from + 300
        };
        written = write(written).await;
        way.is_cut.send_replace(true);
        written = write(written).await;
        assert!(within("the second to take over", second.health.streaming()).await);
        eventually("the first to stop", async || !first.health.is_streaming()).await;
        written = write(written).await;
        // What was held back of the first one's stream comes now, when nobody wants it any more.
        way.is_cut.send_replace(false);
        written = write(written).await;
        let records = outbox.read_all(&topic).await;
        let wanted: Vec<String> = (0..written).map(|number| number.to_string()).collect();
        for key in ["a", "b"] {
            assert_eq!(values_of(&records, key), wanted);
        }
        first.stop().await;
        second.stop().await;
    });
}
