//! Makes Kafka's rules as `docs/least-privilege.md` says: reads its commands, and sends each as the tool would.

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PAGE: &str = include_str!("../../../../docs/least-privilege.md");

/// One command: a principal, a resource and what may be done to it. Numbers are those of Kafka's protocol.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) principal: String,
    pub(crate) resource: String,
    resource_kind: i8,
    pattern: i8,
    operations: Vec<i8>,
}

/// The page's rules.
pub(crate) fn documented() -> anyhow::Result<Vec<Rule>> {
    let commands = PAGE.lines().filter_map(|line| line.strip_prefix("$acls "));
    let rules: Vec<Rule> = commands.map(rule).collect::<anyhow::Result<_>>()?;
    ensure!(!rules.is_empty(), "the page holds commands");
    Ok(rules)
}

fn rule(command: &str) -> anyhow::Result<Rule> {
    let mut rule = Rule {
        principal: String::new(),
        resource: String::new(),
        resource_kind: 0,
        pattern: 3,
        operations: Vec::new(),
    };
    let mut words = command.split_whitespace();
    while let Some(option) = words.next() {
        let value = words.next().context("each option has a value")?;
        match option {
            "--allow-principal" => rule.principal = value.to_owned(),
            "--topic" => (rule.resource_kind, rule.resource) = (2, value.to_owned()),
            "--group" => (rule.resource_kind, rule.resource) = (3, value.to_owned()),
            "--transactional-id" => (rule.resource_kind, rule.resource) = (5, value.to_owned()),
            "--resource-pattern-type" if value == "prefixed" => rule.pattern = 4,
            "--operation" => rule.operations.push(match value {
                "Read" => 3,
                "Write" => 4,
                "Create" => 5,
                "Describe" => 8,
                other => bail!("operation {other}"),
            }),
            other => bail!("option {other}"),
        }
    }
    Ok(rule)
}

/// Gives the rules (CreateAcls, version 1).
pub(crate) async fn create(bootstrap: &str, rules: &[Rule]) -> anyhow::Result<()> {
    let mut body = Vec::new();
    let entries = rules
        .iter()
        .flat_map(|rule| rule.operations.iter().map(move |&operation| (rule, operation)));
    body.extend_from_slice(&i32::try_from(entries.clone().count())?.to_be_bytes());
    for (rule, operation) in entries {
        const ALLOW: i8 = 3;
        body.extend(rule.resource_kind.to_be_bytes());
        put(&mut body, &rule.resource)?;
        body.extend(rule.pattern.to_be_bytes());
        put(&mut body, &rule.principal)?;
        put(&mut body, "*")?;
        body.extend(operation.to_be_bytes());
        body.extend(ALLOW.to_be_bytes());
    }
    let answer = ask(bootstrap, 30, &body).await?;
    check_codes(answer.get(8..).context("an answer")?)
}

/// Takes all rules of a principal on a resource away (DeleteAcls, version 1).
pub(crate) async fn delete(bootstrap: &str, rule: &Rule) -> anyhow::Result<()> {
    const ANY: i8 = 1;
    let mut body = 1_i32.to_be_bytes().to_vec();
    body.extend(rule.resource_kind.to_be_bytes());
    put(&mut body, &rule.resource)?;
    body.extend(rule.pattern.to_be_bytes());
    put(&mut body, &rule.principal)?;
    put(&mut body, "*")?;
    body.extend(ANY.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    let answer = ask(bootstrap, 31, &body).await?;
    let code = answer.get(8..10).context("an answer")?;
    ensure!(code == [0, 0], "kafka refuses: {code:?}");
    Ok(())
}

fn put(body: &mut Vec<u8>, text: &str) -> anyhow::Result<()> {
    body.extend_from_slice(&i16::try_from(text.len())?.to_be_bytes());
    body.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Sends a request of version 1 and gives the answer after its correlation number.
async fn ask(bootstrap: &str, api: i16, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut request = api.to_be_bytes().to_vec();
    request.extend_from_slice(&1_i16.to_be_bytes());
    request.extend_from_slice(&7_i32.to_be_bytes());
    put(&mut request, "scenarios")?;
    request.extend_from_slice(body);
    let mut stream = TcpStream::connect(bootstrap).await?;
    stream
        .write_all(&i32::try_from(request.len())?.to_be_bytes())
        .await?;
    stream.write_all(&request).await?;
    let length = stream.read_u32().await?;
    let mut answer = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut answer).await?;
    Ok(answer.split_off(4))
}

/// The codes of the single rules: each a number and a text that may be absent.
fn check_codes(mut answers: &[u8]) -> anyhow::Result<()> {
    while let Some((code, rest)) = answers.split_first_chunk::<2>() {
        ensure!(
            *code == [0, 0],
            "kafka refuses: {}",
            String::from_utf8_lossy(rest)
        );
        let (length, rest) = rest.split_first_chunk::<2>().context("a text")?;
        let length = usize::try_from(i16::from_be_bytes(*length)).unwrap_or_default();
        answers = rest.get(length..).context("a text")?;
    }
    Ok(())
}
