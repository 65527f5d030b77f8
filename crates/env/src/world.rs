//! The handle through which a member reaches the world.

use crate::{Bug, Disk, Instant, Net, Reading, WallTime, planted};
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A future on the heap that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a member can ask of the world. Two implementations: `synod-host` and `crate::sim`.
pub trait World: Any + Send + Sync {
    /// The timer clock.
    fn now(&self) -> Instant;

    /// The decision clock.
    fn clock(&self) -> Reading;

    /// The wall clock, for people.
    fn wall(&self) -> WallTime;

    /// 64 random bits.
    fn random(&self) -> u64;

    /// Ends at `at` on the timer clock, never before.
    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()>;

    /// Runs a task among the member's other tasks. It is dropped when the member stops.
    /// [`Env::spawn`] has already wrapped it so that [`current`] works inside.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Runs a task that may block on disk: in production on a thread of its own.
    fn spawn_dedicated(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Runs a task with much to do that can wait: as one that is dedicated, but in production it
    /// gives way to the others where processors are scarce.
    fn spawn_background(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.spawn_dedicated(name, task);
    }

    /// The member's data directory.
    fn disk(&self) -> Arc<dyn Disk>;

    /// The member's links to others.
    fn net(&self) -> Arc<dyn Net>;
}

/// A member's handle to its world; cheap to clone.
#[derive(Clone)]
pub struct Env(Arc<dyn World>);

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}

/// A wait ended at its deadline before what it waited for came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlinePassed;

impl Env {
    /// A handle to `world`.
    #[must_use]
    pub fn new(world: Arc<dyn World>) -> Self {
        Self(world)
    }

    /// What the handle is to.
    pub(crate) fn world(&self) -> &dyn World {
        self.0.as_ref()
    }

    /// The timer clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// The decision clock.
    #[must_use]
    pub fn clock(&self) -> Reading {
        if planted(Bug::ExpireByWallClock) {
            let ms = u64::try_from(self.0.wall().0).unwrap_or(0);
            let wall_ns = ms.saturating_mul(1_000_000);
            return Reading {
                boot_ns: wall_ns,
                raw_ns: wall_ns,
            };
        }
        self.0.clock()
    }

    /// The wall clock, for people.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.0.wall()
    }

    /// 64 random bits.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.0.random()
    }

    /// Ends at `at` on the timer clock, never before.
    pub fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(at)
    }

    /// Ends `after` from now.
    pub fn sleep(&self, after: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep_until(self.0.now() + after)
    }

    /// Runs a task among the member's other tasks. It is dropped when the member stops.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(name, Box::pin(self.within(task)));
    }

    /// Runs a task that may block on disk: in production on a thread of its own.
    pub fn spawn_dedicated(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.0.spawn_dedicated(name, Box::pin(self.within(task)));
    }

    /// Runs a task with much to do that can wait: as one that is dedicated, but in production it
    /// gives way to the others where processors are scarce.
    pub fn spawn_background(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.0.spawn_background(name, Box::pin(self.within(task)));
    }

    /// Wraps a future so that this world is the [`current`] one whenever it is polled, and while
    /// it is dropped. Spawned tasks are wrapped already.
    pub fn within<'a, T>(&self, task: impl Future<Output = T> + Send + 'a) -> Within<'a, T> {
        Within {
            world: Some(self.clone()),
            task: Some(Box::pin(task)),
        }
    }

    /// Runs `work` with this world as the [`current`] one. [`Env::within`] does so for futures
    /// that can move between threads.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut world = Some(self.clone());
        let _entered = Entered::new(&mut world);
        work()
    }

    /// The member's data directory.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.0.disk()
    }

    /// The member's links to others.
    #[must_use]
    pub fn net(&self) -> Arc<dyn Net> {
        self.0.net()
    }

    /// Awaits `wait`, but not beyond `deadline`. Whether it is over is decided by the clock,
    /// not by which timer fired first; a wait that is ready counts even at its deadline.
    ///
    /// # Errors
    /// [`DeadlinePassed`]; `wait` is then dropped.
    pub async fn deadline<T>(
        &self,
        deadline: Instant,
        wait: impl Future<Output = T>,
    ) -> Result<T, DeadlinePassed> {
        let mut wait = std::pin::pin!(wait);
        let mut sleep = None;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(value) = wait.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            let sleep = sleep.get_or_insert_with(|| self.sleep_until(deadline));
            sleep.as_mut().poll(cx).map(|()| Err(DeadlinePassed))
        })
        .await
    }
}

thread_local! {
    /// The world of the member whose task this thread is running, if it is running one.
    static CURRENT: RefCell<Option<Env>> = const { RefCell::new(None) };
}

/// The world of the member on whose behalf this thread is running.
///
/// For code whose interface leaves no place for an [`Env`], such as an engine that calls a static
/// `now()`. Whoever can take an `Env` as an argument does.
///
/// # Panics
/// Outside a member: not within a task of [`Env::spawn`], nor a future of [`Env::within`].
#[must_use]
pub fn current() -> Env {
    with_current(Clone::clone)
}

/// Lends the [`current`] world to `look`, which is cheaper than taking a handle of it.
///
/// # Panics
/// As [`current`].
pub fn with_current<T>(look: impl FnOnce(&Env) -> T) -> T {
    CURRENT.with_borrow(|current| {
        let env = current
            .as_ref()
            .expect("no member runs on this thread: only its tasks have a current world");
        look(env)
    })
}

/// A future of [`Env::within`].
pub struct Within<'a, T> {
    /// The member's world; while the task runs, what was current before it.
    world: Option<Env>,
    task: Option<BoxFuture<'a, T>>,
}

impl<T> Future for Within<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { world, task } = &mut *self;
        let task = task.as_mut().expect("a task is only emptied to drop it");
        let _entered = Entered::new(world);
        task.as_mut().poll(cx)
    }
}

impl<T> Drop for Within<'_, T> {
    fn drop(&mut self) {
        let _entered = Entered::new(&mut self.world);
        drop(self.task.take());
    }
}

impl<T> fmt::Debug for Within<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Within")
    }
}

/// Exchanges a world with the thread's current one, and back again when dropped, so that entering
/// a member costs no reference count.
struct Entered<'a>(&'a mut Option<Env>);

impl<'a> Entered<'a> {
    fn new(world: &'a mut Option<Env>) -> Self {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, world));
        Self(world)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self.0));
    }
}

#[cfg(test)]
mod tests;
