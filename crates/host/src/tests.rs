use super::{DataDirError, Host, HostError, HostOptions, HostState};
use bytes::Bytes;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use synod_env::disk::Open;
use synod_env::net::Full;
use synod_env::{Env, Lane, MemberId, current};

/// A directory of a test's own, removed with it.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("synod-host-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _missing = std::fs::remove_dir_all(&self.0);
    }
}

fn start(dir: &TempDir) -> Host {
    Host::new(&dir.0, HostOptions::default()).unwrap()
}

/// What `task` returns when the member runs it. A wait for it ends, late, if it never does.
fn run<T: Send + 'static>(env: &Env, task: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    env.spawn("test", async move {
        let _gone = sender.send(task.await);
    });
    receiver.recv_timeout(Duration::from_secs(60)).unwrap()
}

fn refusal(path: &Path) -> DataDirError {
    match Host::new(path, HostOptions::default()).unwrap_err() {
        HostError::DataDir(error) => error,
        other @ (HostError::Thread(_) | HostError::Machine(_)) => panic!("{other}"),
    }
}

#[test]
fn a_data_directory_in_use_is_refused_and_the_holder_named() {
    let dir = TempDir::new();
    let host = start(&dir);
    let error = refusal(&dir.0);
    let pid = std::process::id();
    assert!(
        matches!(error, DataDirError::Locked { holder_pid: Some(holder), .. } if holder == pid),
        "{error:?}"
    );
    let text = error.to_string();
    let advice = format!("is in use by process {pid}; stop that member first");
    assert!(text.contains(&advice), "{text}");
    host.shutdown().unwrap();
    start(&dir).shutdown().unwrap();
}

#[test]
fn a_dropped_host_gives_its_directory_up_though_its_env_lives_on() {
    let dir = TempDir::new();
    let host = start(&dir);
    let env = host.env().clone();
    drop(host);
    let _again = start(&dir);
    // The world of the host that is gone takes no task.
    let (sender, receiver) = mpsc::channel::<()>();
    env.spawn("late", async move { sender.send(()).unwrap() });
    assert_eq!(receiver.recv(), Err(mpsc::RecvError));
}

#[test]
fn a_file_in_place_of_the_directory_is_named_as_the_reason() {
    let dir = TempDir::new();
    let host = start(&dir);
    let file = dir.0.join("lock");
    for path in [file.clone(), file.join("below")] {
        let error = refusal(&path);
        assert!(
            matches!(error, DataDirError::NotADirectory { .. }),
            "{error:?}"
        );
    }
    drop(host);
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_with_advice() {
    let error = refusal(Path::new("/proc/synod/data"));
    assert!(
        matches!(error, DataDirError::Unwritable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("name a directory"), "{error}");
}

#[test]
fn a_new_directory_belongs_to_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let host = start(&dir);
    let env = host.env().clone();
    run(&env, async {
        let disk = current().disk();
        disk.create_dir("a/b").await.unwrap();
        disk.open("a/b/f", Open::Create).await.unwrap();
    });
    let mode = |path: &str| {
        let metadata = std::fs::metadata(dir.0.join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("a"), 0o700);
    assert_eq!(mode("a/b"), 0o700);
    assert_eq!(mode("a/b/f"), 0o600);
    assert_eq!(mode("lock"), 0o600);
}

#[test]
fn a_file_reads_as_it_was_written_after_a_restart_too() {
    let dir = TempDir::new();
    let host = start(&dir);
    run(host.env(), async {
        let disk = current().disk();
        disk.create_dir("a/b").await.unwrap();
        let file = disk.open("a/b/f.tmp", Open::Create).await.unwrap();
        file.write_at(3, Bytes::from_static(b"xyz")).await.unwrap();
        file.write_at(4, Bytes::from_static(b"-")).await.unwrap();
        file.sync().await.unwrap();
        disk.rename("a/b/f.tmp", "a/b/f").await.unwrap();
        disk.sync_dir("a/b").await.unwrap();
        disk.sync_dir("").await.unwrap();
    });
    drop(host);
    let host = start(&dir);
    run(host.env(), async {
        let disk = current().disk();
        assert_eq!(disk.list("").await.unwrap(), ["a"], "the lock is hidden");
        assert_eq!(disk.list("a/b").await.unwrap(), ["f"]);
        let file = disk.open("a/b/f", Open::Write).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 6);
        let all = file.read_at(0, usize::MAX).await.unwrap();
        assert_eq!(all.as_ref(), b"\0\0\0x-z");
        assert_eq!(file.read_at(5, 1).await.unwrap().as_ref(), b"z");
        assert_eq!(file.read_at(7, 1).await.unwrap().as_ref(), b"");
        disk.remove("a/b/f").await.unwrap();
        assert_eq!(disk.list("a/b").await.unwrap(), [""; 0]);
    });
    let described = host.env().disk().describe("a/b");
    assert!(described.ends_with("/a/b"), "{described}");
    assert!(described.starts_with('/'), "{described}");
}

#[test]
fn each_mistake_has_the_error_it_has_in_the_simulated_world() {
    let dir = TempDir::new();
    let host = start(&dir);
    let errors = run(host.env(), async {
        let disk = current().disk();
        disk.open("f", Open::Create).await.unwrap();
        [
            disk.open("g", Open::Read).await.err(),
            disk.open("g", Open::Write).await.err(),
            disk.open("f", Open::Create).await.err(),
            disk.open("d/f", Open::Create).await.err(),
            disk.list("d").await.err(),
            disk.remove("g").await.err(),
            disk.rename("g", "h").await.err(),
            disk.rename("f", "d/f").await.err(),
            disk.sync_dir("d").await.err(),
            disk.create_dir("f/d").await.err(),
            disk.open("../f", Open::Read).await.err(),
            disk.open("/f", Open::Read).await.err(),
            disk.open("lock", Open::Write).await.err(),
        ]
        .map(|error| error.unwrap().kind())
    });
    use ErrorKind::{AlreadyExists, InvalidInput, NotADirectory, NotFound};
    let expected = [
        NotFound,
        NotFound,
        AlreadyExists,
        NotFound,
        NotFound,
        NotFound,
        NotFound,
        NotFound,
        NotFound,
        NotADirectory,
        InvalidInput,
        InvalidInput,
        InvalidInput,
    ];
    assert_eq!(errors, expected);
}

#[test]
fn a_sleep_is_never_short() {
    let dir = TempDir::new();
    let host = start(&dir);
    run(host.env(), async {
        let env = current();
        for micros in (0..3_000).step_by(37) {
            let at = env.now() + Duration::from_micros(micros);
            env.sleep_until(at).await;
            let now = env.now();
            assert!(now >= at, "woke at {now} instead of {at}");
        }
    });
}

#[test]
fn a_brief_sleep_leaves_the_thread_to_others() {
    let dir = TempDir::new();
    let host = start(&dir);
    run(host.env(), async {
        let env = current();
        let (sender, mut receiver) = synod_env::queue::bounded::<()>(1);
        // The other task can only run while this one sleeps, on the one thread they share.
        env.spawn("other", async move {
            current().sleep(Duration::from_micros(1)).await;
            let _gone = sender.send(()).await;
        });
        while receiver.try_receive().is_err() {
            env.sleep(Duration::from_micros(1)).await;
        }
    });
}

#[test]
fn clocks_and_randomness_come_from_the_machine() {
    let dir = TempDir::new();
    let host = start(&dir);
    let env = host.env();
    let before = env.clock();
    let at = env.now();
    let passed = env.clock().since(before);
    assert!(passed.min <= passed.max, "{passed:?}");
    assert!(env.now() >= at);
    let since_2024 = env.wall().0 - 1_704_067_200_000;
    assert!(since_2024 > 0, "{since_2024}");
    assert_ne!(env.random(), env.random());
}

#[test]
fn a_dedicated_task_has_a_thread_of_its_own() {
    let dir = TempDir::new();
    let host = start(&dir);
    let name = || std::thread::current().name().map(str::to_owned);
    let (sender, receiver) = mpsc::channel();
    let core = run(host.env(), async move {
        current().spawn_dedicated("log", async move {
            // Its timers work, and it has the member's world.
            current().sleep(Duration::from_millis(2)).await;
            sender.send(name()).unwrap();
        });
        name()
    });
    let dedicated = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(core.as_deref(), Some("synod-core"));
    assert_eq!(dedicated.as_deref(), Some("log"));
}

/// Tells of its drop, and that the member's world was current then.
struct Witness(mpsc::Sender<&'static str>, &'static str);

impl Drop for Witness {
    fn drop(&mut self) {
        let _now = current().now();
        let _gone = self.0.send(self.1);
    }
}

#[test]
fn a_shutdown_drops_every_task_in_its_world() {
    let dir = TempDir::new();
    let host = start(&dir);
    let (sender, receiver) = mpsc::channel();
    for name in ["shared", "dedicated"] {
        let witness = Witness(sender.clone(), name);
        let task = async move {
            let _witness = witness;
            std::future::pending::<()>().await;
        };
        if name == "shared" {
            host.env().spawn(name, task);
        } else {
            host.env().spawn_dedicated(name, task);
        }
    }
    drop(sender);
    host.shutdown().unwrap();
    let mut dropped: Vec<_> = receiver.iter().collect();
    dropped.sort_unstable();
    assert_eq!(dropped, ["dedicated", "shared"]);
    assert_eq!(*host.state().borrow(), HostState::Stopped);
    host.shutdown().unwrap();
}

#[test]
fn a_shutdown_does_not_wait_for_ever_and_then_keeps_the_lock() {
    let dir = TempDir::new();
    let options = HostOptions {
        stop_within: Duration::from_millis(10),
    };
    let host = Host::new(&dir.0, options).unwrap();
    let (release, blocked) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    host.env().spawn_dedicated("stuck", async move {
        started.send(()).unwrap();
        let _released = blocked.recv();
    });
    running.recv().unwrap();
    // The core thread may need longer than that to end; this one never does.
    while host.shutdown().unwrap_err().threads != ["stuck"] {}
    let error = host.shutdown().unwrap_err();
    assert_eq!(error.to_string(), "still running: stuck");
    let refused = refusal(&dir.0);
    assert!(
        matches!(refused, DataDirError::Locked { .. }),
        "{refused:?}"
    );
    drop(release);
    while host.shutdown().is_err() {
        std::thread::yield_now();
    }
    start(&dir);
}

#[test]
fn a_panic_stops_the_member_as_a_whole() {
    for dedicated in [false, true] {
        let dir = TempDir::new();
        let host = start(&dir);
        let (sender, receiver) = mpsc::channel();
        let witness = Witness(sender, "other");
        host.env().spawn("other", async move {
            let _witness = witness;
            std::future::pending::<()>().await;
        });
        let faulty = async { panic!("2 > 1") };
        if dedicated {
            host.env().spawn_dedicated("faulty", faulty);
        } else {
            host.env().spawn("faulty", faulty);
        }
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["other"]);
        let failed = HostState::Failed {
            task: "faulty",
            reason: "2 > 1".to_owned(),
        };
        assert_eq!(*host.state().borrow(), failed);
        host.shutdown().unwrap();
        assert_eq!(*host.state().borrow(), failed, "the first reason stays");
    }
}

#[test]
fn a_member_without_peers_can_send_nothing() {
    let dir = TempDir::new();
    let host = start(&dir);
    let net = host.env().net();
    let sent = net.send(MemberId(2), Lane::Control, Bytes::new());
    assert_eq!(sent, Err(Full));
}

#[test]
fn wake_ups_from_other_threads_arrive() {
    let dir = TempDir::new();
    let host = start(&dir);
    let (sender, mut receiver) = synod_env::queue::bounded::<u64>(4);
    let sum = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&sum);
    let (done, wait) = mpsc::channel();
    host.env().spawn("sums", async move {
        while let Some(number) = receiver.receive().await {
            total.fetch_add(number, Ordering::Relaxed);
        }
        done.send(()).unwrap();
    });
    for _ in 0..4 {
        let sender = sender.clone();
        host.env().spawn_dedicated("counts", async move {
            for number in 0..1_000 {
                sender.send(number).await.unwrap();
            }
        });
    }
    drop(sender);
    wait.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(sum.load(Ordering::Relaxed), 4 * 499_500);
}
