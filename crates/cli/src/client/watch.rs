//! `synod watch`.

use super::keys::KeyRange;
use super::{ClientArgs, failure, render};
use crate::exit::{Exit, Failure};
use synod_api::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchResponse};
use synod_api::mvccpb::Event;
use synod_api::mvccpb::event::EventType;
use synod_client::{Error, WatchEnded, Watched};

/// Print changes of a key or range as they happen, until interrupted.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Watch {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    range: KeyRange,
    /// Begin with the changes of that revision, 0 for what is yet to come
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    rev: i64,
    /// Also print what was there before
    #[arg(long)]
    prev_kv: bool,
    /// Ask to hear the revision when nothing happens
    #[arg(long)]
    progress_notify: bool,
    /// End after that many changes
    #[arg(long, value_name = "COUNT")]
    count: Option<usize>,
}

impl Watch {
    /// `--timeout` bounds the wait for a member, at the beginning and whenever one fails; apart from
    /// that the watch lasts until it is interrupted, or has seen `--count` changes.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let (key, range_end) = self.range.on_the_wire();
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision: self.rev,
            progress_notify: self.progress_notify,
            prev_kv: self.prev_kv,
            ..WatchCreateRequest::default()
        };
        let client = self.client.connect()?;
        client.connect().await.map_err(failure)?;
        let mut watcher = client.watch(create);
        let mut seen = 0;
        while self.count.is_none_or(|count| seen < count) {
            match watcher.next().await.map_err(ended)? {
                Watched::Created(_) => {}
                Watched::Changes(header, events) => {
                    seen += events.len();
                    self.show(header, events);
                }
                Watched::Progress(header) if self.progress_notify => self.show(header, Vec::new()),
                Watched::Progress(_) => {}
            }
        }
        Ok(())
    }

    fn show(&self, header: Option<ResponseHeader>, events: Vec<Event>) {
        let reply = WatchResponse {
            header,
            events,
            ..WatchResponse::default()
        };
        let text = || events_text(&reply);
        render::answer(self.client.form, || render::watch(&reply), text);
    }
}

fn ended(why: WatchEnded) -> Failure {
    let message = match why {
        WatchEnded::Compacted { revision } => {
            format!("history before revision {revision} is compacted; watch from there with --rev")
        }
        WatchEnded::Refused { message } => message,
        WatchEnded::Unreachable => {
            let message = "no member carried the watch in time (--timeout)".to_owned();
            return failure(Error::NoAnswer { message });
        }
    };
    Failure::new(Exit::Refused, format!("refused: {message}"))
}

pub(super) fn events_text(reply: &WatchResponse) -> Vec<u8> {
    let mut text = Vec::new();
    if reply.events.is_empty() {
        let revision = reply.header.as_ref().map_or(0, |header| header.revision);
        return format!("progress notify: {revision}\n").into_bytes();
    }
    for event in &reply.events {
        let name: &[u8] = match event.r#type() {
            EventType::Put => b"PUT",
            EventType::Delete => b"DELETE",
        };
        let mut line = |bytes: &[u8]| {
            text.extend_from_slice(bytes);
            text.push(b'\n');
        };
        line(name);
        if let Some(previous) = &event.prev_kv {
            line(&previous.key);
            line(&previous.value);
        }
        if let Some(kv) = &event.kv {
            line(&kv.key);
            line(&kv.value);
        }
    }
    text
}
