//! Leases: made, ended, asked about, and held.

use crate::link::Link;
use crate::{Client, Error, world};
use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::lease_client::LeaseClient;
use synod_env::Reading;
use synod_session::{Class, Endpoint, Lease, LeaseStep, LossReason, Renewal, Standing};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::{Code, Response, Status};

fn leases(link: Link) -> LeaseClient<Link> {
    let origin = link.origin.clone();
    LeaseClient::with_origin(link, origin).max_decoding_message_size(usize::MAX)
}

/// Renews a lease once, on a stream of its own. A lease that is not there has no time to live.
async fn renew(link: Link, id: i64) -> Result<Response<pb::LeaseKeepAliveResponse>, Status> {
    let request = pb::LeaseKeepAliveRequest { id };
    let requests = stream::iter([request]);
    let mut answers = leases(link).lease_keep_alive(requests).await?.into_inner();
    let answer = answers.message().await?;
    let ended = || Status::unavailable("the stream ended without an answer");
    answer.map(Response::new).ok_or_else(ended)
}

impl Client {
    /// Makes a lease. It lives for the time that the answer says unless it is renewed.
    ///
    /// # Errors
    /// [`Error`]. After [`Error::Unknown`] there may be a lease that nobody renews.
    pub async fn lease_grant(
        &self,
        request: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Error> {
        self.unary(Class::Write, request, |link, request| {
            Box::pin(async move { leases(link).lease_grant(request).await })
        })
        .await
    }

    /// Ends a lease and deletes its keys.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lease_revoke(
        &self,
        request: pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, Error> {
        self.unary(Class::Write, request, |link, request| {
            Box::pin(async move { leases(link).lease_revoke(request).await })
        })
        .await
    }

    /// Renews a lease once. If there is no such lease, the answer's time to live is zero.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lease_keep_alive_once(
        &self,
        id: i64,
    ) -> Result<pb::LeaseKeepAliveResponse, Error> {
        self.attempts(Class::Idempotent, |link, _| Box::pin(renew(link, id)))
            .await
    }

    /// How long a lease has to live.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::Unknown`].
    pub async fn lease_time_to_live(
        &self,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, Error> {
        self.unary(Class::Read, request, |link, request| {
            Box::pin(async move { leases(link).lease_time_to_live(request).await })
        })
        .await
    }

    /// All leases.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::Unknown`].
    pub async fn lease_list(&self) -> Result<pb::LeaseLeasesResponse, Error> {
        self.unary(Class::Read, pb::LeaseLeasesRequest {}, |link, request| {
            Box::pin(async move { leases(link).lease_leases(request).await })
        })
        .await
    }

    /// Makes a lease and keeps it alive.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hold_lease(&self, request: pb::LeaseGrantRequest) -> Result<HeldLease, Error> {
        let sent = world::clock();
        let granted = self.lease_grant(request).await?;
        Ok(self.hold(granted.id, granted.ttl, sent))
    }

    /// Keeps a lease alive that exists already.
    ///
    /// # Errors
    /// [`Error`]; refused with [`Code::NotFound`] if there is no such lease.
    pub async fn hold_existing_lease(&self, id: i64) -> Result<HeldLease, Error> {
        let sent = world::clock();
        let renewed = self.lease_keep_alive_once(id).await?;
        if renewed.ttl <= 0 {
            return Err(Error::Refused {
                code: Code::NotFound,
                message: "etcdserver: requested lease not found".to_owned(),
            });
        }
        Ok(self.hold(id, renewed.ttl, sent))
    }

    fn hold(&self, id: i64, ttl_s: i64, sent: Reading) -> HeldLease {
        let (now, clock) = (world::now(), world::clock());
        let (config, prng) = (self.0.config.leases, world::prng());
        let lease = Lease::granted(seconds(ttl_s), sent, now, clock, config, prng);
        let (told, standing) = watch::channel(lease.standing(clock));
        let lease = Arc::new(Mutex::new(lease));
        let keeper = Keeper {
            client: self.clone(),
            id,
            lease: Arc::clone(&lease),
            told,
        };
        HeldLease {
            client: self.clone(),
            id,
            lease,
            standing,
            keeping: world::spawn(keeper.run()).abort_handle(),
        }
    }
}

/// What etcd says in whole seconds, zero or less if there is no such lease.
fn seconds(ttl_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0))
}

/// A lease that is kept alive as long as this is not dropped.
///
/// Dropping it ends the renewals and nothing else: the lease then lives for the rest of its time.
/// [`HeldLease::revoke`] ends the lease.
#[derive(Debug)]
pub struct HeldLease {
    client: Client,
    id: i64,
    lease: Arc<Mutex<Lease>>,
    standing: watch::Receiver<Standing>,
    keeping: AbortHandle,
}

impl HeldLease {
    /// The lease's number.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// What may be thought of the lease at this moment, by this machine's decision clock. Ask
    /// before each deed in the lease's name.
    #[must_use]
    pub fn standing(&self) -> Standing {
        lock(&self.lease).standing(world::clock())
    }

    /// Whether the lease can be relied on at this moment.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match self.standing() {
            Standing::Held(_) | Standing::AtRisk(_) => true,
            Standing::Lapsed | Standing::Lost(_) => false,
        }
    }

    /// Waits until the lease can no longer be relied on, and says how it stands then.
    pub async fn invalid(&mut self) -> Standing {
        while self.is_valid() {
            // The keeper tells of each change, and ends only after it has told of a loss.
            if self.standing.changed().await.is_err() {
                break;
            }
        }
        self.standing()
    }

    /// Waits until the lease can be relied on again.
    ///
    /// # Errors
    /// If that will never be.
    pub async fn valid(&mut self) -> Result<(), LossReason> {
        loop {
            match self.standing() {
                Standing::Held(_) | Standing::AtRisk(_) => return Ok(()),
                Standing::Lost(reason) => return Err(reason),
                Standing::Lapsed => {}
            }
            if self.standing.changed().await.is_err() {
                return Err(LossReason::Silence);
            }
        }
    }

    /// Ends the lease and deletes its keys.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke(self) -> Result<pb::LeaseRevokeResponse, Error> {
        self.keeping.abort();
        let request = pb::LeaseRevokeRequest { id: self.id };
        self.client.lease_revoke(request).await
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// The task that renews.
struct Keeper {
    client: Client,
    id: i64,
    lease: Arc<Mutex<Lease>>,
    told: watch::Sender<Standing>,
}

impl Keeper {
    async fn run(self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let step = {
                let mut lease = lock(&self.lease);
                let clock = world::clock();
                let step = lease.step(world::now(), clock, &mut self.client.session());
                self.tell(lease.standing(clock));
                step
            };
            let until = match step {
                LeaseStep::Renew { renewal, endpoint } => {
                    under_way.push(self.renew(renewal, endpoint));
                    continue;
                }
                LeaseStep::Wait(until) => until,
                LeaseStep::End(_) => return,
            };
            let answered = async {
                match under_way.next().await {
                    Some(answered) => answered,
                    None => std::future::pending().await,
                }
            };
            let Some((renewal, ttl)) = world::until(until, answered).await else {
                continue;
            };
            let (now, clock) = (world::now(), world::clock());
            let mut session = self.client.session();
            match ttl {
                Some(ttl) => lock(&self.lease).renewed(now, clock, renewal, ttl, &mut session),
                None => lock(&self.lease).failed(now, renewal, &mut session),
            }
        }
    }

    /// Renews once. Gives the time to live, zero if there is no such lease, or nothing if there
    /// was no answer.
    async fn renew(&self, renewal: Renewal, endpoint: Endpoint) -> (Renewal, Option<Duration>) {
        // Beyond this time the answer would prove nothing.
        let until = world::now() + lock(&self.lease).ttl();
        let answer = async {
            let link = self.client.link(endpoint, until).await.ok()?;
            match renew(link, self.id).await {
                Ok(answer) => Some(seconds(answer.into_inner().ttl)),
                Err(status) if status.code() == Code::NotFound => Some(Duration::ZERO),
                Err(_) => None,
            }
        };
        (renewal, world::until(until, answer).await.flatten())
    }

    /// Tells the holder if what may be thought of the lease has changed in kind.
    fn tell(&self, standing: Standing) {
        self.told.send_if_modified(|told| {
            let changed = std::mem::discriminant(told) != std::mem::discriminant(&standing);
            *told = standing;
            changed
        });
    }
}

fn lock(lease: &Mutex<Lease>) -> MutexGuard<'_, Lease> {
    lease.lock().unwrap_or_else(PoisonError::into_inner)
}
