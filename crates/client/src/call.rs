//! Carries out a [`Call`]: connects, sends, waits, and reports.

use crate::link::Link;
use crate::outcome::{self, Error, Tried, Why};
use crate::{Client, world};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use synod_session::{Attempt, Call, Class, Ended, Endpoint, Step};
use tonic::{Request, Response, Status};

/// An answer that is awaited.
pub(crate) type Answering<A> = Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send>>;

/// What came of an attempt so far.
enum Progress<A> {
    Connected(Attempt, Endpoint, Result<Link, String>),
    Ended(Attempt, Ended<A, Why>),
}

/// How much of the time that is left a member is given, in percent. With the rest, its answer
/// that nothing was done in time can still come back, and the outcome is not unknown.
const MEMBERS_SHARE_PERCENT: u32 = 90;

impl Client {
    /// Makes one request. Dropping the future gives it up: what was sent by then may be done.
    pub(crate) async fn unary<Q, A>(
        &self,
        class: Class,
        request: Q,
        send: impl Fn(Link, Request<Q>) -> Answering<A> + Sync,
    ) -> Result<A, Error>
    where
        Q: Clone + Send + Sync,
        A: Send + 'static,
    {
        self.attempts(class, |link, timeout| {
            let mut request = Request::new(request.clone());
            request.set_timeout(timeout);
            send(link, request)
        })
        .await
    }

    /// Makes one request with `send`, which is told how long a member may take.
    pub(crate) async fn attempts<A: Send + 'static>(
        &self,
        class: Class,
        send: impl Fn(Link, Duration) -> Answering<A> + Sync,
    ) -> Result<A, Error> {
        let config = &self.0.config;
        let mut call = Call::new(class, world::now() + config.timeout, config.calls);
        let mut under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Progress<A>> + Send>>> =
            FuturesUnordered::new();
        // What came of each endpoint that is not connected.
        let mut tried = BTreeMap::new();
        loop {
            let step = call.step(world::now(), &mut self.session());
            let until = match step {
                Step::Send {
                    attempt,
                    endpoint,
                    send_by,
                } => {
                    call.held(attempt);
                    tried.insert(endpoint, "no connection in time".to_owned());
                    let client = self.clone();
                    under_way.push(Box::pin(async move {
                        let link = client.link(endpoint, send_by).await;
                        Progress::Connected(attempt, endpoint, link)
                    }));
                    continue;
                }
                Step::Wait(until) => until,
                Step::End(outcome) => {
                    let tried = tried.into_iter().map(|(endpoint, said)| Tried {
                        endpoint: self.0.links.name(endpoint).to_owned(),
                        said,
                    });
                    return outcome::result(class, outcome, tried.collect());
                }
            };
            let progress = async {
                match under_way.next().await {
                    Some(progress) => progress,
                    None => std::future::pending().await,
                }
            };
            match world::until(until, progress).await {
                None => {}
                Some(Progress::Connected(attempt, endpoint, Ok(link))) => {
                    call.sent(attempt);
                    tried.remove(&endpoint);
                    let left = call.deadline().saturating_since(world::now());
                    let answer = send(link, left * MEMBERS_SHARE_PERCENT / 100);
                    under_way.push(Box::pin(async move {
                        Progress::Ended(attempt, outcome::judge(answer.await))
                    }));
                }
                Some(Progress::Connected(attempt, endpoint, Err(said))) => {
                    tried.insert(endpoint, said.clone());
                    let ended = Ended::NotDone(Why::Unreached(said));
                    call.report(world::now(), attempt, ended, &mut self.session());
                }
                Some(Progress::Ended(attempt, ended)) => {
                    call.report(world::now(), attempt, ended, &mut self.session());
                }
            }
        }
    }
}
