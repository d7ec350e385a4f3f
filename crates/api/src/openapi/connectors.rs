//! `/v1/connectors`: how the way from the database to Kafka is, and to let it stand still.

use posthaste_types::Scope;
use utoipa::openapi::path::HttpMethod::{Get, Post};

use super::examples;
use super::operation::{Answer, Operation};
use crate::{Connector, ConnectorList};

const TAG: &str = "connectors";

const PAUSE: &str = "What is on its way to the topics ends; then nothing more is read, by this connector or by one that takes \
    its place, until it is resumed. It takes effect within a second or so. Tasks are taken in meanwhile, none is run and no \
    event comes, and the database's log piles up: at 95 % of what it may keep, `on_wal_limit` decides. One that is paused \
    already is a 200 too.";

pub(crate) fn operations() -> Vec<Operation> {
    let list = operation((Get, "/v1/connectors"), "listConnectors", "List connectors")
        .about("Connectors are the deployment's: they are for keys of the operators' tenant alone (`http.operators`).")
        .answers(Answer::json::<ConnectorList>(
            "200",
            "The connectors.",
            examples::connector_list(),
        ));
    let read = operation(
        (Get, "/v1/connectors/{slot}"),
        "getConnector",
        "Read how a connector is",
    );
    let pause = operation(
        (Post, "/v1/connectors/{slot}/pause"),
        "pauseConnector",
        "Let a connector stand still",
    )
    .about(PAUSE);
    let resume = operation(
        (Post, "/v1/connectors/{slot}/resume"),
        "resumeConnector",
        "Let a connector go on",
    )
    .about("It goes on where it stood, within a second or so; nothing is lost. One that is not paused is a 200 too.");
    vec![
        list,
        read.answers(one(examples::connector())),
        pause.answers(one(examples::connector_paused())),
        resume.answers(one(examples::connector())),
    ]
}

fn operation(route: (utoipa::openapi::path::HttpMethod, &'static str), id: &str, summary: &str) -> Operation {
    Operation::new(route, TAG, id, summary).key(Scope::Admin)
}

fn one(example: serde_json::Value) -> Answer {
    Answer::json::<Connector>("200", "The connector.", example)
}
