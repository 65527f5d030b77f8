//! `synod watch`.

use super::keys::KeyRange;
use super::lease::receiver_stream;
use super::{ClientArgs, Effect, REPLY_BYTES_MAX, Session, failure, lost, render};
use crate::exit::{Exit, Failure};
use crate::outside;
use synod_api::etcdserverpb::watch_client::WatchClient;
use synod_api::etcdserverpb::watch_request::RequestUnion;
use synod_api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use synod_api::mvccpb::event::EventType;
use tokio::sync::mpsc;

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
    /// `--timeout` bounds the wait for the watch to begin; after that it lasts until it is
    /// interrupted, or has seen `--count` changes.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let session = Session::open(&self.client).await?;
        let (requests, outgoing) = mpsc::channel(1);
        let (key, range_end) = self.range.on_the_wire();
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision: self.rev,
            progress_notify: self.progress_notify,
            prev_kv: self.prev_kv,
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        requests
            .send(create)
            .await
            .map_err(|_| lost(Effect::Reads, "the stream has ended"))?;
        let mut client =
            WatchClient::new(session.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX);
        let mut answers = session
            .call(Effect::Reads, client.watch(receiver_stream(outgoing)))
            .await?;
        let mut seen = 0;
        let mut created = false;
        while self.count.is_none_or(|count| seen < count) {
            let message = if created {
                answers.message().await
            } else {
                outside::within(self.client.timeout, answers.message())
                    .await
                    .ok_or_else(|| lost(Effect::Reads, "the watch did not begin in time"))?
            };
            let Some(reply) = message.map_err(|status| failure(Effect::Reads, &status))? else {
                return Err(lost(Effect::Reads, "the member ended the stream"));
            };
            created |= reply.created;
            if reply.canceled {
                return Err(Failure::new(Exit::Refused, canceled(&reply)));
            }
            seen += reply.events.len();
            if !reply.events.is_empty() || (self.progress_notify && !reply.created) {
                let text = || events_text(&reply);
                render::answer(self.client.form, || render::watch(&reply), text);
            }
        }
        Ok(())
    }
}

fn canceled(reply: &WatchResponse) -> String {
    if reply.compact_revision > 0 {
        return format!(
            "refused: history before revision {} is compacted; watch from there with --rev",
            reply.compact_revision
        );
    }
    format!("refused: {}", reply.cancel_reason)
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
