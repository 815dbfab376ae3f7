//! `events`, `watch` and `peek`.

use std::io::Read;

use anyhow::Context as _;
use fracta::control::client::{Client, ClientError, EventQuery};
use fracta::control::connect;
use fracta::event::Event;
use futures_util::StreamExt;

use super::args;
use super::context::Context;
use super::out;
use super::readable::Readable;

/// Lines are gathered up to so many bytes before they are written.
const BUFFER: usize = 64 << 10;

pub async fn events(context: &Context, args: args::Events) -> anyhow::Result<()> {
    let client = context.client().await?;
    if args.raw {
        return raw(context, &client, &args).await;
    }
    let mut follow = Follow::new(context, client);
    let mut after = args.after;
    loop {
        let query = EventQuery { after, follow: args.follow, ..EventQuery::default() };
        let begun = after;
        let result = match follow.client.event_lines(&args.name, query).await {
            Ok(lines) => print(lines, &mut after).await,
            Err(e) => Err(e.into()),
        };
        if !args.follow {
            return result;
        }
        if !follow.goes_on(&args.name, result, after > begun).await? {
            return Ok(());
        }
    }
}

/// Going on with a followed session when its stream ends: that may be the agent's end or the control
/// plane's, and the next one goes on with the same journal.
struct Follow<'a> {
    context: &'a Context,
    client: Client,
    /// Streams in a row that brought nothing.
    vain: u32,
}

/// So many vain tries, and no more.
const TRIES: u32 = 20;
/// Between tries: a control plane that is just ending still takes connections.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

impl<'a> Follow<'a> {
    fn new(context: &'a Context, client: Client) -> Self {
        Self { context, client, vain: 0 }
    }

    /// What to do after a stream that ended with `result`: false where there is nothing more to come.
    async fn goes_on(
        &mut self,
        name: &str,
        result: anyhow::Result<()>,
        brought: bool,
    ) -> anyhow::Result<bool> {
        self.vain = if brought { 0 } else { self.vain + 1 };
        match result {
            Ok(()) if ended(&self.client, name).await => return Ok(false),
            Ok(()) => {}
            Err(e) if self.vain < TRIES && is_lost(&e) => {}
            Err(e) => return Err(e),
        }
        if self.vain > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        // One that is configured elsewhere is not ours to start: its address is just tried again.
        if self.context.elsewhere()?.is_none() {
            let (layout, exe) = (self.context.layout()?, super::context::exe()?);
            self.client = connect::ensure(&layout, self.context.config.as_deref(), &exe).await?;
        }
        Ok(true)
    }
}

/// The link was lost; an answer that says no is no loss.
fn is_lost(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClientError::Unreachable { .. } | ClientError::Broken(_)))
}

/// Prints lines as they come; several that are there at once are written at once.
async fn print(
    lines: impl futures_util::Stream<Item = Result<String, ClientError>> + Unpin,
    after: &mut u64,
) -> anyhow::Result<()> {
    let mut lines = lines.ready_chunks(1024);
    let mut out = Vec::new();
    while let Some(ready) = lines.next().await {
        let mut broken = None;
        for line in ready {
            match line {
                Ok(line) => {
                    *after = seq(&line).unwrap_or(*after);
                    out.extend_from_slice(line.as_bytes());
                    out.push(b'\n');
                }
                Err(e) => broken = Some(e),
            }
            if out.len() >= BUFFER {
                out::raw(&out)?;
                out.clear();
            }
        }
        out::raw(&out)?;
        out.clear();
        if let Some(e) = broken {
            return Err(e.into());
        }
    }
    Ok(())
}

/// The number at a journal line's start: `{"seq":12,…`.
fn seq(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("{\"seq\":")?;
    rest.get(..rest.find(|c: char| !c.is_ascii_digit())?)?.parse().ok()
}

async fn ended(client: &Client, name: &str) -> bool {
    match client.agent(name).await {
        Ok(agent) => agent.killed,
        Err(e) => e.code() == Some(fracta::control::wire::Code::NotFound),
    }
}

/// The runtime's own bytes. They may hold anything, so a terminal gets them only cleaned.
async fn raw(context: &Context, client: &Client, args: &args::Events) -> anyhow::Result<()> {
    let agent = client.agent(&args.name).await?;
    if context.elsewhere()?.is_some() {
        anyhow::bail!(
            "--raw reads a file beside the control plane, and control_plane.url names one elsewhere"
        );
    }
    let path = context.layout()?.session_dir(&agent.session).join("raw.jsonl");
    let mut file = match std::fs::File::open(&path) {
        Ok(f) => f,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let to_person = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let mut seen = agent.last_seq;
    let mut bytes = vec![0; BUFFER];
    loop {
        let n = file.read(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
        if n == 0 {
            if !args.follow {
                return Ok(());
            }
            let Some(next) = next_event(client, &args.name, seen).await? else { return Ok(()) };
            seen = next;
        } else if to_person {
            out::raw(fracta::text::clean_bytes(&bytes[..n]).as_bytes())?;
        } else {
            out::raw(&bytes[..n])?;
        }
    }
}

/// Waits until there is an event after `seq`; none when the agent is gone.
async fn next_event(client: &Client, name: &str, seq: u64) -> anyhow::Result<Option<u64>> {
    let query = EventQuery { after: seq, follow: true, ..EventQuery::default() };
    let mut events = client.events(name, query).await?;
    Ok(events.next().await.transpose()?.map(|e| e.seq))
}

pub async fn watch(context: &Context, name: &str) -> anyhow::Result<()> {
    let client = context.client().await?;
    let tail = last(&client, name, 20).await?;
    let mut readable = Readable::new();
    let mut after = 0;
    for event in &tail {
        show(context, &mut readable, event)?;
        after = event.seq;
    }
    let mut follow = Follow::new(context, client);
    loop {
        let query = EventQuery { after, follow: true, ..EventQuery::default() };
        let begun = after;
        let result = match follow.client.events(name, query).await {
            Ok(mut events) => loop {
                match events.next().await {
                    Some(Ok(event)) => {
                        after = event.seq;
                        show(context, &mut readable, &event)?;
                    }
                    Some(Err(e)) => break Err(e.into()),
                    None => break Ok(()),
                }
            },
            Err(e) => Err(e.into()),
        };
        if !follow.goes_on(name, result, after > begun).await? {
            return Ok(());
        }
    }
}

pub async fn peek(context: &Context, name: &str, lines: u64) -> anyhow::Result<()> {
    let client = context.client().await?;
    let tail = last(&client, name, lines).await?;
    let mut readable = Readable::new();
    for event in &tail {
        show(context, &mut readable, event)?;
    }
    if !context.json {
        out::text(&readable.finish())?;
    }
    if let Some(event) = tail.last() {
        client.seen(name, event.seq).await?;
    }
    Ok(())
}

fn show(context: &Context, readable: &mut Readable, event: &Event) -> anyhow::Result<()> {
    if context.json { out::json(event) } else { Ok(out::text(&readable.show(event))?) }
}

/// The last `n` events.
async fn last(client: &Client, name: &str, n: u64) -> anyhow::Result<Vec<Event>> {
    let query = EventQuery { before: Some(u64::MAX), limit: Some(n), ..EventQuery::default() };
    let mut events = client.events(name, query).await?;
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        all.push(event?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_line_begins_with_its_number() {
        assert_eq!(seq("{\"seq\":12,\"ts\":\"…\"}"), Some(12));
        assert_eq!(seq("{\"ts\":1}"), None);
        assert_eq!(seq("{\"seq\":"), None);
    }
}
