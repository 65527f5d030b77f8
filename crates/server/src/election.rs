//! The service `v3electionpb.Election`: whoever is first in the line leads, and its key's value is
//! what it says of itself.

use crate::Server;
use crate::call::Call;
use crate::errors;
use crate::line::in_line;
use crate::translate::key_value;
use bytes::Bytes;
use futures_util::{Stream, stream};
use std::collections::VecDeque;
use std::sync::Arc;
use synod_api::v3electionpb as pb;
use synod_env::Instant;
use synod_node::line::{self, Candidate};
use synod_node::{Consistency, Failure, WatchCreate, WatchMessage, WatchStream};
use synod_state::command::{LeaseId, Op, Put, Revision, Txn};
use synod_state::reply::{EventKind, KeyValue};
use tonic::Status;

impl Server {
    pub(crate) async fn campaign(
        &self,
        request: pb::CampaignRequest,
        call: Call,
    ) -> Result<pb::CampaignResponse, Status> {
        let pb::CampaignRequest { name, lease, value } = request;
        let failed = |failure| in_line(&call, &failure);
        let lease = self.session(lease, &call).await.map_err(failed)?;
        let candidate = Candidate::new(&name, lease);
        let entered = candidate.enter(&self.node, value.clone(), call.deadline);
        let mut place = entered.await.map_err(failed)?;
        if place.found.as_ref().is_some_and(|found| *found != value) {
            let key = place.candidate.key.clone();
            let said = self.say(key, place.since, lease, value, call.deadline);
            said.await
                .map_err(failed)?
                .ok_or_else(|| errors::NOT_ELECTED.with_outcome(false))?;
        }
        // As in etcd, the header is that of the candidacy, not of the victory.
        let header = self.header(place.revision);
        match self.patiently(&call, place.come_first()).await {
            Ok(_) => {
                let rev = place.since;
                let Candidate { key, lease, .. } = place.keep();
                Ok(pb::CampaignResponse {
                    header: Some(header),
                    leader: Some(pb::LeaderKey {
                        name,
                        key,
                        rev,
                        lease,
                    }),
                })
            }
            // etcd answers with a victory here, though there is no key to show for it.
            Err(ended) => Err(self.out_of_line(&call, place, ended, errors::NOT_ELECTED)),
        }
    }

    pub(crate) async fn proclaim(
        &self,
        request: pb::ProclaimRequest,
        call: Call,
    ) -> Result<pb::ProclaimResponse, Status> {
        let pb::ProclaimRequest { leader, value } = request;
        let pb::LeaderKey {
            name: _,
            key,
            rev,
            lease,
        } = leader.ok_or_else(|| errors::LEADER_NOT_PROVIDED.with_outcome(false))?;
        let failed = |failure| in_line(&call, &failure);
        let lease = self.session(lease, &call).await.map_err(failed)?;
        let said = self.say(key, rev, lease, value, call.deadline).await;
        let revision = said
            .map_err(failed)?
            .ok_or_else(|| errors::NOT_ELECTED.with_outcome(false))?;
        Ok(pb::ProclaimResponse {
            header: Some(self.header(revision)),
        })
    }

    pub(crate) async fn leader(
        &self,
        request: pb::LeaderRequest,
        call: Call,
    ) -> Result<pb::LeaderResponse, Status> {
        let pb::LeaderRequest { name } = request;
        let root = self
            .node
            .read(Consistency::Linearizable, call.deadline)
            .await
            .map_err(|failure| call.status(&failure))?;
        let leader =
            line::head(&root, &name).ok_or_else(|| errors::NOBODY_ELECTED.with_outcome(false))?;
        Ok(pb::LeaderResponse {
            header: Some(self.header(root.revision())),
            kv: Some(key_value(leader)),
        })
    }

    pub(crate) async fn resign(
        &self,
        request: pb::ResignRequest,
        call: Call,
    ) -> Result<pb::ResignResponse, Status> {
        let pb::ResignRequest { leader } = request;
        let pb::LeaderKey {
            name: _,
            key,
            rev,
            lease: _,
        } = leader.ok_or_else(|| errors::LEADER_NOT_PROVIDED.with_outcome(false))?;
        // Whoever does not lead has nothing to resign, and is told no different.
        let left = line::leave(&self.node, &key, rev, call.deadline).await;
        let revision = left.map_err(|failure| in_line(&call, &failure))?;
        Ok(pb::ResignResponse {
            header: Some(self.header(revision)),
        })
    }

    /// Tells who leads, and then each change.
    pub(crate) fn observe(
        self: Arc<Self>,
        request: pb::LeaderRequest,
        call: Call,
    ) -> impl Stream<Item = Result<pb::LeaderResponse, Status>> + Send + 'static {
        let pb::LeaderRequest { name } = request;
        let observer = Observer {
            server: self,
            name,
            told: None,
            heard: VecDeque::new(),
            stage: Stage::Fresh(call.deadline),
        };
        stream::unfold(observer, move |mut observer| async move {
            let next = observer
                .next()
                .await
                .map_err(|failure| call.status(&failure));
            Some((next, observer))
        })
    }

    /// Sets the value of a leader's key, if it is still the one that was created at `since`. Answers
    /// with the store's revision.
    async fn say(
        &self,
        key: Bytes,
        since: Revision,
        lease: LeaseId,
        value: Bytes,
        deadline: Instant,
    ) -> Result<Option<Revision>, Failure> {
        let compare = vec![line::created(&key, since)];
        let put = Put {
            key,
            value,
            lease,
            ..Put::default()
        };
        let txn = Txn {
            compare,
            success: vec![Op::Put(put)],
            failure: Vec::new(),
        };
        let (revision, done) = line::transact(&self.node, txn, deadline).await?;
        Ok(done.succeeded.then_some(revision))
    }
}

/// Follows an election.
struct Observer {
    server: Arc<Server>,
    name: Bytes,
    /// What was told last, so that it is not told twice.
    told: Option<KeyValue>,
    /// What the leader said and was not told yet, with the revision for the header.
    heard: VecDeque<(Revision, KeyValue)>,
    stage: Stage,
}

enum Stage {
    /// Nothing is known; it must be by this time.
    Fresh(Instant),
    /// The leader has gone, and this member knows it.
    Vacant,
    /// Nobody leads: watches for the first key of the line.
    Waiting(WatchStream),
    /// Watches the leader's key.
    Following(WatchStream),
}

impl Observer {
    async fn next(&mut self) -> Result<pb::LeaderResponse, Failure> {
        loop {
            while let Some((revision, leader)) = self.heard.pop_front() {
                if self.told.as_ref() != Some(&leader) {
                    self.told = Some(leader.clone());
                    return Ok(pb::LeaderResponse {
                        header: Some(self.server.header(revision)),
                        kv: Some(key_value(leader)),
                    });
                }
            }
            self.listen().await?;
        }
    }

    /// Goes on until something is heard, or the stage is another.
    async fn listen(&mut self) -> Result<(), Failure> {
        let node = &self.server.node;
        match &mut self.stage {
            Stage::Fresh(deadline) => {
                let fresh = node.read(Consistency::Linearizable, *deadline).await?;
                self.look(&fresh)
            }
            Stage::Vacant => {
                let root = node.root();
                self.look(&root)
            }
            Stage::Waiting(stream) => match stream.next().await {
                Some(WatchMessage::Events { events, .. }) => {
                    let mut puts = events.iter().map(|event| event.event.kv.clone());
                    let leader = puts.next().expect("a message of events holds one");
                    self.follow(leader.mod_revision, leader)
                }
                message => self.heed(message),
            },
            Stage::Following(stream) => match stream.next().await {
                Some(WatchMessage::Events {
                    revision, events, ..
                }) => {
                    for event in events.iter() {
                        let kv = &event.event.kv;
                        match event.event.kind {
                            EventKind::Put => self.heard.push_back((revision, kv.clone())),
                            EventKind::Delete => {
                                self.stage = Stage::Vacant;
                                break;
                            }
                        }
                    }
                    Ok(())
                }
                message => self.heed(message),
            },
        }
    }

    fn look(&mut self, root: &synod_state::Root) -> Result<(), Failure> {
        let revision = root.revision();
        if let Some(leader) = line::head(root, &self.name) {
            return self.follow(revision, leader);
        }
        let key = line::line(&self.name);
        let stream = self.server.node.watch()?;
        stream.requester().create(&WatchCreate {
            range_end: line::end_of(&key),
            key,
            start_revision: revision + 1,
            no_delete: true,
            ..WatchCreate::default()
        });
        self.stage = Stage::Waiting(stream);
        Ok(())
    }

    /// Somebody leads as of a revision.
    fn follow(&mut self, revision: Revision, leader: KeyValue) -> Result<(), Failure> {
        let stream = self.server.node.watch()?;
        stream.requester().create(&WatchCreate {
            key: leader.key.clone(),
            start_revision: revision + 1,
            ..WatchCreate::default()
        });
        self.stage = Stage::Following(stream);
        self.heard.push_back((revision, leader));
        Ok(())
    }

    /// What is no event may be the end of the watch.
    fn heed(&mut self, message: Option<WatchMessage>) -> Result<(), Failure> {
        match message {
            Some(WatchMessage::Canceled { reason, .. }) => {
                line::canceled(reason)?;
                self.stage = Stage::Vacant;
                Ok(())
            }
            Some(
                WatchMessage::Created { .. }
                | WatchMessage::Progress { .. }
                | WatchMessage::Events { .. },
            ) => Ok(()),
            None => Err(Failure::Stopped),
        }
    }
}
