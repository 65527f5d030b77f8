//! What is asked of a member rather than of the cluster's keys.

use crate::link::Link;
use crate::{Client, Error, world};
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::maintenance_client::MaintenanceClient;
use synod_api::synodpb;
use synod_api::synodpb::limits_client::LimitsClient;
use synod_session::Class;
use tonic::Streaming;

fn maintenance(link: Link) -> MaintenanceClient<Link> {
    let origin = link.origin.clone();
    MaintenanceClient::with_origin(link, origin)
}

fn limits(link: Link) -> LimitsClient<Link> {
    let origin = link.origin.clone();
    LimitsClient::with_origin(link, origin)
}

impl Client {
    /// What a member says of itself: whichever is asked. To ask a certain one, make a client that
    /// knows no other.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::Unknown`].
    pub async fn status(&self) -> Result<pb::StatusResponse, Error> {
        self.unary(Class::Read, pb::StatusRequest {}, |link, request| {
            Box::pin(async move { maintenance(link).status(request).await })
        })
        .await
    }

    /// Tells, raises or clears alarms. A second time changes nothing, so it is sent again after a
    /// loss.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Error> {
        self.unary(Class::Idempotent, request, |link, request| {
            Box::pin(async move { maintenance(link).alarm(request).await })
        })
        .await
    }

    /// The bounds that can be changed while a cluster runs: what holds, and who changed it.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::Unknown`]; refused as not implemented by etcd.
    pub async fn limits(&self) -> Result<synodpb::ListLimitsResponse, Error> {
        self.unary(
            Class::Read,
            synodpb::ListLimitsRequest {},
            |link, request| Box::pin(async move { limits(link).list(request).await }),
        )
        .await
    }

    /// Sets a bound for the whole cluster, or gives it back to the members. A second time changes
    /// only when it was changed, so it is sent again after a loss.
    ///
    /// # Errors
    /// [`Error`]; refused as not implemented by etcd.
    pub async fn set_limit(&self, request: synodpb::SetLimitRequest) -> Result<(), Error> {
        let done = self.unary(Class::Idempotent, request, |link, request| {
            Box::pin(async move { limits(link).set(request).await })
        });
        let synodpb::SetLimitResponse {} = done.await?;
        Ok(())
    }

    /// The whole state of a member as a stream of bytes, followed by their SHA-256.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::Unknown`]. How the stream itself can end, [`Backup::next`] says.
    pub async fn snapshot(&self) -> Result<Backup, Error> {
        let stream = self.attempts(Class::Read, |link, _| {
            Box::pin(async move { maintenance(link).snapshot(pb::SnapshotRequest {}).await })
        });
        Ok(Backup(stream.await?, self.0.config.timeout))
    }
}

/// A member's state on its way here.
#[derive(Debug)]
pub struct Backup(Streaming<pb::SnapshotResponse>, std::time::Duration);

impl Backup {
    /// The next piece, or `None` after the last one. Each may take as long as a request.
    ///
    /// # Errors
    /// [`Error::NoAnswer`]: what came so far is not the whole.
    pub async fn next(&mut self) -> Result<Option<pb::SnapshotResponse>, Error> {
        let Self(stream, patience) = self;
        let message = match world::until(world::now() + *patience, stream.message()).await {
            Some(Ok(piece)) => return Ok(piece),
            Some(Err(status)) => status.message().to_owned(),
            None => format!("nothing came for {patience:?}"),
        };
        Err(Error::NoAnswer { message })
    }
}
