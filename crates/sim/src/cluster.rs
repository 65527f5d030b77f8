//! The machines of a run: what is started on them, and started again.

use crate::audit::Audit;
use crate::client::{self, Client};
use crate::life::{self, Birth, Stage};
use crate::observer::{Machine, Said, Sight};
use crate::promises;
use crate::record::Record;
use crate::scenario::{Scenario, limits};
use crate::wire::{CLIENT_PORT, Parcels};
use std::sync::Arc;
use std::time::Duration;
use synod_checker::{MemberEvent, StateHash};
use synod_env::sim::{Nemesis, Sim};
use synod_env::{Env, Net};
use synod_log::{Epoch, Role};
use synod_node::Node;
use synod_state::Root;

/// How long a supervisor waits before it starts again what has ended.
const RESTART_AFTER: Duration = Duration::from_millis(150);

/// All machines of a run.
pub(crate) struct Cluster {
    sim: Sim,
    nemesis: Nemesis,
    members: Vec<Member>,
    clients: Vec<Customer>,
    audit: Audit,
    record: Record,
    parcels: Parcels,
}

/// What keeps a machine from running, each counted; and when it is started if nothing does.
#[derive(Default)]
struct Holds {
    down: u32,
    paused: u32,
    frozen: u32,
    start_at: Option<Duration>,
}

struct Member {
    number: u32,
    birth: Birth,
    holds: Holds,
    /// The life that was begun last, until its end was noticed.
    life: Option<life::Progress>,
    lives: u64,
    /// A fault damaged what is on its disk: it may be right to stay down.
    damaged: bool,
    /// Why it stays down for good.
    retired: Option<String>,
    /// What it is, while it serves.
    role: Option<(Role, Epoch)>,
    /// The last entry of this life whose hash was taken.
    hashed: u64,
}

struct Customer {
    setup: client::Setup,
    holds: Holds,
    up: bool,
}

impl Holds {
    /// Whether a machine that is down is to be started now: at once if a fault has kept it down
    /// until now, after `wait` if it ended otherwise.
    fn is_due(&mut self, now: Duration, wait: Duration) -> bool {
        if self.down > 0 {
            self.start_at = Some(now);
            return false;
        }
        let at = *self.start_at.get_or_insert(now + wait);
        let due = now >= at;
        if due {
            self.start_at = None;
        }
        due
    }
}

impl Cluster {
    /// The machines of a scenario, all switched off.
    pub(crate) fn new(sim: Sim, scenario: &Scenario, record: &Record) -> Self {
        let parcels = Parcels::default();
        let audit = Audit::default();
        let ids = (1..=scenario.members).map(|number| Machine::Member(number).id());
        let ids: std::collections::BTreeSet<_> = ids.collect();
        let plans = &scenario.workload.clients;
        let clients = (0..).zip(plans).map(|(number, plan)| Customer {
            setup: client::Setup {
                number,
                plan: plan.clone(),
                workload_seed: scenario.workload.seed,
                members: scenario.members,
                progress: Arc::default(),
                parcels: parcels.clone(),
                record: record.clone(),
            },
            holds: Holds::default(),
            up: false,
        });
        let clients: Vec<_> = clients.collect();
        let members = (1..=scenario.members).map(|number| Member {
            number,
            birth: Birth {
                member: Machine::Member(number).id(),
                members: ids.clone(),
                limits: limits(&scenario.limits),
                // One more than the clients of the workload: whoever looks at the end.
                clients: u32::try_from(clients.len() + 1).expect("clients are few"),
                parcels: parcels.clone(),
                record: record.clone(),
                audit: audit.clone(),
                is_judged: true,
            },
            holds: Holds::default(),
            life: None,
            lives: 0,
            damaged: false,
            retired: None,
            role: None,
            hashed: 0,
        });
        Self {
            nemesis: sim.nemesis(),
            members: members.collect(),
            clients,
            audit,
            sim,
            parcels,
            record: record.clone(),
        }
    }

    /// Tells the observer what messages say.
    pub(crate) fn listen(&self) {
        let (record, parcels) = (self.record.clone(), self.parcels.clone());
        self.sim.listen(move |number, message| {
            let said = match parcels.fetch(message) {
                Some(parcel) => Said::Client(parcel.to_string()),
                None => Said::Members(message.clone()),
            };
            // The world is in the middle of an event and must not be asked for the time, which is
            // that of the event that follows.
            record.tell_at(Duration::ZERO, &Sight::Said { number, said });
        });
    }

    pub(crate) fn sim(&self) -> &Sim {
        &self.sim
    }

    /// The numbers of all members.
    pub(crate) fn members(&self) -> impl Iterator<Item = u32> {
        self.members.iter().map(|member| member.number)
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> u32 {
        u32::try_from(self.clients.len()).expect("clients are few")
    }

    /// The member that leads, as far as it knows; of several the one of the latest epoch.
    pub(crate) fn leader(&self) -> Option<u32> {
        let leading = self.members.iter().filter_map(|member| {
            let (role, epoch) = member.role?;
            matches!(role, Role::Leader).then_some((epoch, member.number))
        });
        leading.max().map(|(_, number)| number)
    }

    /// A member that serves and does not lead.
    pub(crate) fn follower(&self) -> Option<u32> {
        let leader = self.leader();
        let serving = self.members.iter().filter(|member| member.role.is_some());
        let mut numbers = serving.map(|member| member.number);
        numbers.find(|number| Some(*number) != leader)
    }

    // What faults do to machines.

    fn holds(&mut self, machine: Machine) -> &mut Holds {
        match machine {
            Machine::Member(number) => &mut self.members[number as usize - 1].holds,
            Machine::Client(number) => &mut self.clients[number as usize].holds,
        }
    }

    /// Nobody starts the machine until [`Cluster::let_up`] is called as often.
    pub(crate) fn hold_down(&mut self, machine: Machine) {
        self.holds(machine).down += 1;
    }

    /// Ends one [`Cluster::hold_down`].
    pub(crate) fn let_up(&mut self, machine: Machine) {
        self.holds(machine).down -= 1;
    }

    /// When the machine goes down next it is started again without waiting.
    pub(crate) fn start_at_once(&mut self, machine: Machine) {
        self.holds(machine).start_at = Some(Duration::ZERO);
    }

    /// Nothing on the machine runs until [`Cluster::resume`] is called as often.
    pub(crate) fn pause(&mut self, machine: Machine) {
        self.holds(machine).paused += 1;
        self.nemesis.pause(machine.id());
    }

    /// Ends one [`Cluster::pause`].
    pub(crate) fn resume(&mut self, machine: Machine) {
        let holds = self.holds(machine);
        holds.paused -= 1;
        if holds.paused == 0 {
            self.nemesis.resume(machine.id());
        }
    }

    /// The machine stands still, clocks too, until [`Cluster::thaw`] is called as often.
    pub(crate) fn freeze(&mut self, machine: Machine) {
        self.holds(machine).frozen += 1;
        self.nemesis.freeze(machine.id());
    }

    /// Ends one [`Cluster::freeze`].
    pub(crate) fn thaw(&mut self, machine: Machine) {
        let holds = self.holds(machine);
        holds.frozen -= 1;
        if holds.frozen == 0 {
            self.nemesis.thaw(machine.id());
        }
    }

    /// What is on the machine's disk is not what was written there: it may be right to stay down.
    pub(crate) fn damaged(&mut self, machine: Machine) {
        match machine {
            Machine::Member(number) => self.members[number as usize - 1].damaged = true,
            Machine::Client(_) => {}
        }
    }

    /// The machine has another disk than before: it may be right to stay out.
    pub(crate) fn reformatted(&mut self, machine: Machine) {
        match machine {
            Machine::Member(number) => {
                let member = &mut self.members[number as usize - 1];
                member.damaged = true;
                // Whoever starts on the new disk counts its starts anew, and is none of those
                // whom the judges know.
                member.birth.is_judged = false;
            }
            Machine::Client(_) => {}
        }
    }

    // What a supervisor does.

    /// Looks after all machines: starts what is down and may be up, and writes down what changed.
    pub(crate) fn tend(&mut self, now: Duration) {
        for member in &mut self.members {
            member.tend(now, &self.sim, &self.nemesis, &self.record);
        }
        let nodes = self.members.iter().filter_map(Member::node);
        let roots = nodes.map(|node| node.root());
        if let Some(newest) = roots.max_by_key(Root::revision) {
            self.audit.follow(&newest, &self.record);
        }
        for client in &mut self.clients {
            let id = Machine::Client(client.setup.number).id();
            if client.up && !self.nemesis.is_up(id) {
                client.up = false;
                // Nobody hears any more what its process watched, whether or not another comes.
                self.record.close_watches(client.setup.number);
            }
            if !client.up && client.holds.is_due(now, Duration::ZERO) {
                client.up = true;
                let env = self.sim.member(id);
                Client::start(&env, client_side(&self.sim, &env), client.setup.clone());
            }
        }
    }

    /// Lets clients do what they have left without pausing.
    pub(crate) fn hurry(&self) {
        for client in &self.clients {
            client.setup.progress.hurry();
        }
    }

    /// Clients that have not done all their operations, but for those that stay down for good.
    fn late(&self) -> impl Iterator<Item = &client::Setup> {
        let up = self.clients.iter().filter(|client| client.holds.down == 0);
        let up = up.map(|client| &client.setup);
        up.filter(|client| !client.progress.is_done())
    }

    /// Whether some client has not done all its operations.
    pub(crate) fn clients_are_busy(&self) -> bool {
        self.late().next().is_some()
    }

    /// Whether every client has done all its operations; otherwise which have not.
    pub(crate) fn clients_are_done(&self) -> Result<(), String> {
        if !self.clients_are_busy() {
            return Ok(());
        }
        let late = self.late().map(|client| {
            let (number, begun) = (client.number, client.progress.begun());
            format!("client {number} has begun {begun} operations")
        });
        Err(late.collect::<Vec<_>>().join(", "))
    }

    /// Starts one more client, which reads everything through each member in turn.
    pub(crate) fn scan(&mut self) {
        let Some(last) = self.clients.last() else {
            return;
        };
        let number = self.clients();
        let setup = client::Setup {
            number,
            progress: Arc::default(),
            ..last.setup.clone()
        };
        let env = self.sim.member(Machine::Client(number).id());
        Client::scan(&env, client_side(&self.sim, &env), setup.clone());
        self.clients.push(Customer {
            setup,
            holds: Holds::default(),
            up: true,
        });
    }

    /// Whether all members that are expected to serve when nothing is wrong any more (those that
    /// are neither held down for good nor right to stay out) do, and have the same state at the
    /// same place in the log; otherwise what differs.
    pub(crate) fn states_are_equal(&self) -> Result<(), String> {
        let mut first = None;
        for (number, node) in self.sound_nodes() {
            let Some(node) = node else {
                return Err(format!("member {number} does not serve"));
            };
            let (index, root) = node.applied();
            let state = (index, root.hash());
            let (other, expected) = *first.get_or_insert((number, state));
            if state != expected {
                return Err(format!(
                    "member {number} has state {:x} after entry {index}, member {other} {:x} \
                     after entry {}",
                    state.1, expected.1, expected.0
                ));
            }
        }
        Ok(())
    }

    /// Whether no sound member knows of a lease any more.
    pub(crate) fn leases_have_ended(&self) -> Result<(), String> {
        for (number, node) in self.sound_nodes() {
            let Some(node) = node else {
                return Err(format!("member {number} does not serve"));
            };
            let leases = node.root().lease_count();
            if leases > 0 {
                return Err(format!("member {number} still has {leases}"));
            }
        }
        Ok(())
    }

    fn sound_nodes(&self) -> Vec<(u32, Option<Node>)> {
        let sound = self.members.iter().filter(|member| member.is_sound());
        sound.map(|member| (member.number, member.node())).collect()
    }
}

/// Where clients and members talk, apart from what members say to each other.
fn client_side(sim: &Sim, env: &Env) -> Arc<dyn Net> {
    sim.net_on(env, CLIENT_PORT)
}

impl Member {
    /// Whether it has to serve like any other when nothing is wrong any more. One whose disk was
    /// damaged may refuse to, but if it serves, then nothing is missing from what it serves.
    fn is_sound(&self) -> bool {
        let stays_out = self.retired.is_some() || self.holds.down > 0;
        let has_other_disk = !self.birth.is_judged;
        let may_refuse = self.damaged && self.node().is_none();
        !stays_out && !has_other_disk && !may_refuse
    }

    fn node(&self) -> Option<Node> {
        let life = self.life.as_ref()?;
        life.look(|stage| match stage {
            Stage::Serving(node) => Some(node.clone()),
            Stage::Starting | Stage::Stopped(_) | Stage::Unfit(_) => None,
        })
    }

    fn tend(&mut self, now: Duration, sim: &Sim, nemesis: &Nemesis, record: &Record) {
        if self.retired.is_some() {
            return;
        }
        let id = self.birth.member;
        if self.life.is_some() {
            self.look(record);
            if !nemesis.is_up(id) || self.retired.is_some() || self.has_stopped(record) {
                nemesis.kill(id);
                self.life = None;
                self.role = None;
                if self.birth.is_judged {
                    record.member(id, MemberEvent::Stopped);
                }
            }
        }
        if self.life.is_none() && self.retired.is_none() {
            let wait = if self.lives == 0 {
                Duration::ZERO
            } else {
                RESTART_AFTER
            };
            if self.holds.is_due(now, wait) {
                self.lives += 1;
                self.hashed = 0;
                let env = sim.member(id);
                let clients = client_side(sim, &env);
                self.life = Some(life::begin(&env, clients, self.birth.clone()));
            }
        }
    }

    /// Whether the member has stopped by itself; one that can never go on is retired.
    fn has_stopped(&mut self, record: &Record) -> bool {
        let Some(life) = &self.life else {
            return false;
        };
        let end = life.look(|stage| match stage {
            Stage::Starting | Stage::Serving(_) => None,
            Stage::Stopped(reason) => Some((reason.clone(), true)),
            Stage::Unfit(reason) => Some((reason.clone(), false)),
        });
        let Some((reason, fit)) = end else {
            return false;
        };
        record.tell(|| Sight::Stopped {
            member: self.number,
            reason: reason.clone(),
        });
        if fit {
            record.mark("member stopped by itself");
        } else if self.damaged {
            record.mark("damaged member stays out");
            self.retired = Some(reason);
        } else {
            let member = self.number;
            record.violate(
                promises::SOUND_DISK,
                format!("member {member} stays out: {reason}"),
            );
            self.retired = Some(reason);
        }
        true
    }

    /// Writes down what can be seen of a member that serves.
    fn look(&mut self, record: &Record) {
        let Some(node) = self.node() else {
            return;
        };
        let id = self.birth.member;
        let status = node.status();
        let role = Some((status.role, status.epoch));
        if role != self.role {
            self.role = role;
            let (name, leads) = match status.role {
                Role::Leader => ("leader", true),
                Role::Follower => ("follower", false),
                Role::Candidate => ("candidate", false),
                Role::Learner => ("learner", false),
            };
            record.tell(|| Sight::Role {
                member: self.number,
                role: name,
                epoch: status.epoch.0,
            });
            if leads {
                let reign = status.epoch.0;
                record.member(id, MemberEvent::Reigns { reign });
            }
        }
        let (applied, root) = node.applied();
        if applied.0 > self.hashed {
            self.hashed = applied.0;
            let hash = StateHash(root.hash());
            let index = applied.0;
            record.member(id, MemberEvent::Hashed { index, hash });
        }
    }
}
