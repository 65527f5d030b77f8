//! `/health`, `/livez` and `/readyz`: what those ask who restart a member or send it clients.
//!
//! `/livez` says whether the process still works, and nothing of the cluster: who restarts a
//! member because others cannot be reached makes matters worse. `/readyz` says whether it can
//! serve. Checks, paths and texts are those of etcd since 3.5.11.

use crate::Server;
use crate::call::Call;
use crate::grpc::Body;
use crate::http::{JSON, TEXT, respond, text_error};
use crate::maintenance::alarm_name;
use crate::metrics::{Counter, Series};
use http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use synod_log::Role;
use synod_node::Consistency;
use synod_state::command::AlarmKind;

/// One thing that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// No alarm about corruption is raised.
    DataCorruption,
    /// The cluster can be read.
    LinearizableRead,
    /// The member is no learner, which serves only some reads.
    NonLearner,
    /// The member's own state can be read.
    SerializableRead,
}

impl Check {
    const ALL: [Self; 4] = [
        Self::DataCorruption,
        Self::LinearizableRead,
        Self::NonLearner,
        Self::SerializableRead,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
            Self::SerializableRead => "serializable_read",
        }
    }
}

/// A set of checks with a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Live,
    Ready,
}

impl Probe {
    const ALL: [Self; 2] = [Self::Live, Self::Ready];

    fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }

    fn checks(self) -> &'static [Check] {
        match self {
            Self::Live => &[Check::SerializableRead],
            Self::Ready => &Check::ALL,
        }
    }
}

/// What is asked for by a path of a probe: all of its checks, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    probe: Probe,
    only: Option<Check>,
}

impl Asked {
    /// What a path asks for, if it is one of a probe.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let below = path.strip_prefix('/')?;
        let (probe, check) = match below.split_once('/') {
            None => (below, None),
            Some((probe, check)) => (probe, Some(check)),
        };
        let probe = Probe::ALL.into_iter().find(|it| it.name() == probe)?;
        let only = match check {
            None => None,
            Some(name) => {
                let mut checks = probe.checks().iter();
                Some(*checks.find(|check| check.name() == name)?)
            }
        };
        Some(Self { probe, only })
    }
}

/// What the checks of the probes came to.
#[derive(Debug, Default)]
pub(crate) struct Probes([[Made; Check::ALL.len()]; Probe::ALL.len()]);

#[derive(Debug, Default)]
struct Made {
    succeeded: Counter,
    failed: Counter,
    /// How many had been made when one last failed: it is the latest if there are no more.
    failed_at: Counter,
}

impl Probes {
    fn count(&self, probe: Probe, check: Check, is_good: bool) {
        let made = &self.0[probe as usize][check as usize];
        if is_good {
            made.succeeded.add(1);
        } else {
            made.failed.add(1);
            let all = made.succeeded.get() + made.failed.get();
            made.failed_at.raise_to(all);
        }
    }

    fn each(&self) -> impl Iterator<Item = ([&'static str; 2], &Made)> {
        Probe::ALL.into_iter().flat_map(move |probe| {
            probe.checks().iter().map(move |check| {
                let labels = [probe.name(), check.name()];
                (labels, &self.0[probe as usize][*check as usize])
            })
        })
    }

    /// What each check came to when it was last made.
    pub(crate) fn write_latest(&self, series: &mut Series<'_>) {
        for (labels, made) in self.each() {
            let all = made.succeeded.get() + made.failed.get();
            if all > 0 {
                series.one(&labels, u8::from(made.failed_at.get() < all));
            }
        }
    }

    /// How often each check was made.
    pub(crate) fn write_totals(&self, series: &mut Series<'_>) {
        for ([probe, check], made) in self.each() {
            for (status, count) in [("success", &made.succeeded), ("error", &made.failed)] {
                if count.get() > 0 {
                    series.one(&[probe, check, status], count.get());
                }
            }
        }
    }
}

/// The values that a parameter of a query has.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter_map(move |parameter| {
        let (found, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (found == name).then_some(value)
    })
}

impl Server {
    /// Makes the checks that are asked for, but those that the query excludes.
    pub(crate) async fn probe(&self, asked: Asked, request: &Request<Incoming>) -> Response<Body> {
        let Asked { probe, only } = asked;
        let query = request.uri().query().unwrap_or("");
        let call = Call::new(self.node.now(), request.headers(), self.timeout_max());
        let (mut told, mut is_good) = (String::new(), true);
        for check in probe.checks() {
            let is_asked = match only {
                Some(only) => *check == only,
                None => values(query, "exclude").all(|excluded| excluded != check.name()),
            };
            if !is_asked {
                continue;
            }
            let ailment = self.examine(*check, call).await;
            self.metrics.probes.count(probe, *check, ailment.is_none());
            let name = check.name();
            match ailment {
                None => told.push_str(&format!("[+]{name} ok\n")),
                Some(why) => {
                    told.push_str(&format!("[-]{name} failed: {why}\n"));
                    is_good = false;
                }
            }
        }
        if !is_good {
            tracing::warn!(probe = probe.name(), told, "a probe failed");
            return text_error(StatusCode::SERVICE_UNAVAILABLE, &told);
        }
        if values(query, "verbose").next().is_none() {
            told.clear();
        }
        let mut response = respond(StatusCode::OK, TEXT, told + "ok\n");
        let no_guesses = HeaderValue::from_static("nosniff");
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, no_guesses);
        response
    }

    /// What a check finds wrong.
    async fn examine(&self, check: Check, call: Call) -> Option<String> {
        match check {
            Check::DataCorruption => {
                let is_corrupt = self.node.root().has_alarm(AlarmKind::Corrupt);
                is_corrupt.then(|| "alarm activated: CORRUPT".to_owned())
            }
            Check::LinearizableRead => self.unreadable(Consistency::Linearizable, call).await,
            Check::NonLearner => match self.node.status().role {
                Role::Learner => Some("not supported for learner".to_owned()),
                Role::Leader | Role::Follower | Role::Candidate => None,
            },
            Check::SerializableRead => self.unreadable(Consistency::Serializable, call).await,
        }
    }

    async fn unreadable(&self, consistency: Consistency, call: Call) -> Option<String> {
        let read = self.node.read(consistency, call.deadline).await;
        let failure = read.err()?;
        Some(call.status(&failure).message().to_owned())
    }

    /// Healthy is a member that can read, and about which no alarm is raised.
    pub(crate) async fn health(&self, request: &Request<Incoming>) -> Response<Body> {
        let query = request.uri().query().unwrap_or("");
        let call = Call::new(self.node.now(), request.headers(), self.timeout_max());
        match self.ailment(call, query).await {
            None => {
                self.metrics.health_successes.add(1);
                respond(StatusCode::OK, JSON, r#"{"health":"true","reason":""}"#)
            }
            Some(reason) => {
                self.metrics.health_failures.add(1);
                let body = format!(r#"{{"health":"false","reason":"{reason}"}}"#);
                respond(StatusCode::SERVICE_UNAVAILABLE, JSON, body)
            }
        }
    }

    /// What is wrong, in a few words without quotes.
    async fn ailment(&self, call: Call, query: &str) -> Option<String> {
        let root = self.node.root();
        let mut alarms = root.alarms().map(|alarm| alarm_name(alarm.kind));
        let is_counted = |alarm: &&str| values(query, "exclude").all(|it| it != *alarm);
        if let Some(alarm) = alarms.find(is_counted) {
            return Some(format!("ALARM {alarm}"));
        }
        if values(query, "serializable").next() == Some("true") {
            return None;
        }
        if self.node.status().leader.is_none() {
            return Some("RAFT NO LEADER".into());
        }
        let unreadable = self.unreadable(Consistency::Linearizable, call).await?;
        Some(format!("RANGE ERROR:{unreadable}"))
    }
}
