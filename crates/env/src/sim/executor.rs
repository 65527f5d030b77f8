//! Tasks, which of them can run, and the choice among those.

use super::choices::Choices;
use super::kernel::Kernel;
use crate::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A task's place; the generation tells it from earlier tasks at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId {
    slot: u32,
    generation: u32,
}

/// The place of the future that the caller of the world awaits. It is not a task of the world:
/// it may borrow, and it ends the run.
const CALLER: u32 = u32::MAX;

/// What a waker points to. Made once per task, so that neither waking nor polling allocates.
pub(super) struct Handle {
    kernel: Arc<Kernel>,
    id: TaskId,
    queued: AtomicBool,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.kernel.lock().tasks.ready.push(self.id);
        }
    }
}

impl Handle {
    /// Must come before the poll, so that a wake-up during the poll counts.
    pub(super) fn begin_poll(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

/// A task with all that is needed to poll it, out of its slot meanwhile.
pub(super) struct Runnable {
    future: BoxFuture<'static, ()>,
    waker: Waker,
    handle: Arc<Handle>,
}

impl Runnable {
    pub(super) fn poll(&mut self) -> Poll<()> {
        self.handle.begin_poll();
        let mut cx = Context::from_waker(&self.waker);
        self.future.as_mut().poll(&mut cx)
    }
}

struct Task {
    member: usize,
    number: u64,
    name: &'static str,
    /// Absent while the task is being polled.
    runnable: Option<Runnable>,
}

struct Slot {
    generation: u32,
    task: Option<Task>,
}

/// What the executor does next.
pub(super) enum Next {
    /// Polls the caller's future.
    Caller,
    /// Polls a task.
    Task {
        id: TaskId,
        member: usize,
        number: u64,
        name: &'static str,
    },
    /// No task can run now.
    Nothing,
}

#[derive(Default)]
pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: Vec<TaskId>,
    spawned: u64,
    caller_generation: u32,
}

impl Tasks {
    /// A handle for the caller's next future; wake-ups of earlier ones no longer count.
    pub(super) fn begin_caller(&mut self, kernel: &Arc<Kernel>) -> Arc<Handle> {
        self.caller_generation += 1;
        let id = TaskId {
            slot: CALLER,
            generation: self.caller_generation,
        };
        self.ready.push(id);
        Arc::new(Handle {
            kernel: Arc::clone(kernel),
            id,
            queued: AtomicBool::new(true),
        })
    }

    pub(super) fn end_caller(&mut self) {
        self.caller_generation += 1;
    }

    pub(super) fn spawn(
        &mut self,
        kernel: &Arc<Kernel>,
        member: usize,
        name: &'static str,
        future: BoxFuture<'static, ()>,
    ) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                task: None,
            });
            u32::try_from(self.slots.len() - 1).expect("fewer tasks than 2^32")
        });
        let place = &mut self.slots[slot as usize];
        let id = TaskId {
            slot,
            generation: place.generation,
        };
        let handle = Arc::new(Handle {
            kernel: Arc::clone(kernel),
            id,
            queued: AtomicBool::new(true),
        });
        self.spawned += 1;
        place.task = Some(Task {
            member,
            number: self.spawned,
            name,
            runnable: Some(Runnable {
                future,
                waker: Waker::from(Arc::clone(&handle)),
                handle,
            }),
        });
        self.ready.push(id);
    }

    /// Chooses among what can run. Tasks for which `parked` holds are handed to it instead.
    pub(super) fn choose(
        &mut self,
        choices: &mut Choices,
        mut parked: impl FnMut(usize, TaskId) -> bool,
    ) -> Next {
        while !self.ready.is_empty() {
            let id = self.ready.swap_remove(choices.index(self.ready.len()));
            if id.slot == CALLER {
                if id.generation == self.caller_generation {
                    return Next::Caller;
                }
                continue;
            }
            let slot = &self.slots[id.slot as usize];
            // A task may have ended after it was woken.
            let Some(task) = slot
                .task
                .as_ref()
                .filter(|_| slot.generation == id.generation)
            else {
                continue;
            };
            if !parked(task.member, id) {
                return Next::Task {
                    id,
                    member: task.member,
                    number: task.number,
                    name: task.name,
                };
            }
        }
        Next::Nothing
    }

    /// Takes a task that was chosen out of its slot to poll it.
    pub(super) fn take(&mut self, id: TaskId) -> Runnable {
        let task = self.slots[id.slot as usize].task.as_mut();
        task.and_then(|task| task.runnable.take())
            .expect("a task that was chosen exists and is not being polled")
    }

    /// Puts a task back that has to wait. It comes back to the caller, to be dropped, if it was
    /// ended meanwhile.
    pub(super) fn put_back(&mut self, id: TaskId, runnable: Runnable) -> Option<Runnable> {
        let slot = &mut self.slots[id.slot as usize];
        match slot.task.as_mut() {
            Some(task) if slot.generation == id.generation => {
                task.runnable = Some(runnable);
                None
            }
            Some(_) | None => Some(runnable),
        }
    }

    /// Frees the slot of a task that is over, unless that has been done.
    pub(super) fn end(&mut self, id: TaskId) {
        if self.slots[id.slot as usize].generation == id.generation {
            self.free(id.slot);
        }
    }

    fn free(&mut self, slot: u32) -> Option<Task> {
        let place = &mut self.slots[slot as usize];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        place.task.take()
    }

    /// Ends all tasks of a member. They come back, to be dropped without the world's lock.
    pub(super) fn end_all(&mut self, member: usize) -> Vec<Runnable> {
        let slots = u32::try_from(self.slots.len()).expect("fewer tasks than 2^32");
        let of_member = |tasks: &Self, slot: u32| {
            let task = tasks.slots[slot as usize].task.as_ref();
            task.is_some_and(|task| task.member == member)
        };
        (0..slots)
            .filter_map(|slot| {
                of_member(self, slot)
                    .then(|| self.free(slot))
                    .flatten()?
                    .runnable
            })
            .collect()
    }

    pub(super) fn make_ready(&mut self, tasks: &mut Vec<TaskId>) {
        self.ready.append(tasks);
    }

    pub(super) fn started(&self) -> u64 {
        self.spawned
    }

    /// Names of the tasks that exist, with how many there are of each, for messages.
    pub(super) fn names(&self) -> std::collections::BTreeMap<&'static str, usize> {
        let mut names = std::collections::BTreeMap::new();
        for task in self.slots.iter().filter_map(|slot| slot.task.as_ref()) {
            *names.entry(task.name).or_default() += 1;
        }
        names
    }
}
