//! `cargo xtask compat`: the compatibility cases against a real etcd.
//!
//! Each case is played against an etcd of its own. Without `--record` a difference from what is
//! committed is a failure: etcd does not always answer the same, or someone has changed what was
//! recorded. With `--record` the answers are written down. In a case that is marked with `since:`
//! the contract stands as its author wrote it, and what etcd answers otherwise stands beside it.

use crate::member::{Kind, Member};
use crate::provision::{self, Trouble};
use crate::{Outcome, world};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use synod_compat::file::{Case, File, Step};
use synod_compat::judge;
use synod_compat::play::play;
use synod_compat::schema::Schema;

/// Members at a time: most of what a start takes is waiting.
const MEMBERS_MAX: usize = 3;

/// What the command line asks for.
#[derive(Default)]
struct Request {
    record: bool,
    /// Only files, or with `/` cases, whose names contain this.
    only: Option<String>,
    /// The etcd to play against, if not the one that is fetched.
    program: Option<PathBuf>,
}

/// A case and what etcd answered to it.
struct Played {
    file: usize,
    case: Case,
    answers: Outcome<Vec<Vec<String>>>,
}

/// What remains to be played, and what has been.
struct Board {
    todo: Vec<(usize, Case)>,
    played: Vec<Played>,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let request = Request::parse(arguments)?;
    let program = match &request.program {
        Some(program) => program.clone(),
        None => provision::etcd().map_err(Trouble::why)?.server,
    };
    let paths = world::files(&folder(), ".txt")?;
    let mut files = Vec::new();
    for path in &paths {
        let file = File::parse(&world::read(path)?);
        files.push(file.map_err(|why| format!("{}: {why}", path.display()))?);
    }

    let played = play_all(&request, &program, &paths, &files)?;
    let (mut same, mut different) = (0, 0);
    for Played {
        file,
        case,
        answers,
    } in played
    {
        let place = format!("{}: {:?}", name(&paths[file]), case.name);
        let answers = answers.map_err(|why| format!("{place}: {why}"));
        let answers = match answers {
            Ok(answers) => answers,
            Err(why) => {
                println!("{why}");
                different += 1;
                continue;
            }
        };
        match compare(&case, &answers) {
            None => same += 1,
            Some(difference) => {
                println!("{place}: {difference}");
                different += 1;
            }
        }
        if request.record {
            let kept = files[file].cases.iter_mut().find(|it| it.name == case.name);
            record(kept.expect("it was read from this file"), answers);
        }
    }
    if request.record {
        for (path, file) in paths.iter().zip(&files) {
            world::write(path, &file.text())?;
        }
        println!("{same} cases as before, {different} not");
        return Ok(());
    }
    match different {
        0 => {
            println!("{same} cases, all as recorded");
            Ok(())
        }
        _ => Err(format!("{different} of {} cases differ", same + different)),
    }
}

impl Request {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut request = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().cloned();
            match argument.as_str() {
                "--record" => request.record = true,
                "--only" => request.only = Some(value().ok_or("--only wants a name")?),
                "--program" => {
                    let path = value().ok_or("--program wants a path")?;
                    request.program = Some(path.into());
                }
                other => {
                    return Err(format!(
                        "takes --record, --only FILE[/CASE] and --program PATH, not {other}"
                    ));
                }
            }
        }
        Ok(request)
    }

    fn asks_for(&self, path: &Path, case: &Case) -> bool {
        let Some(only) = &self.only else {
            return true;
        };
        let (file, part) = only.split_once('/').unwrap_or((only, ""));
        name(path).contains(file) && case.name.contains(part)
    }
}

fn folder() -> PathBuf {
    world::root().join("crates/server/testdata/compat")
}

fn name(path: &Path) -> String {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Plays what is asked for, a few cases at a time, and returns it in the order of the files.
fn play_all(
    request: &Request,
    program: &Path,
    paths: &[PathBuf],
    files: &[File],
) -> Outcome<Vec<Played>> {
    let mut todo = Vec::new();
    for (at, (path, file)) in paths.iter().zip(files).enumerate() {
        let cases = file
            .cases
            .iter()
            .filter(|case| request.asks_for(path, case));
        todo.extend(cases.map(|case| (at, case.clone())));
    }
    todo.reverse();
    let played = Vec::with_capacity(todo.len());
    let board = Arc::new(Mutex::new(Board { todo, played }));
    let schema = Schema::load()?;
    let workers: Vec<_> = (0..MEMBERS_MAX)
        .map(|number| {
            let (board, schema) = (Arc::clone(&board), schema.clone());
            let program = program.to_path_buf();
            world::beside(move || work(&board, &schema, &program, number))
        })
        .collect();
    for worker in workers {
        worker.join().expect("playing a case does not panic");
    }
    let board = Arc::into_inner(board).expect("all who had it have ended");
    let mut board = board.into_inner().expect("nobody panicked with it");
    let place = |played: &Played| {
        let cases = &files[played.file].cases;
        let at = cases.iter().position(|case| case.name == played.case.name);
        (played.file, at)
    };
    board.played.sort_by_key(place);
    Ok(board.played)
}

fn work(board: &Mutex<Board>, schema: &Schema, program: &Path, number: usize) {
    loop {
        let next = board.lock().expect("nobody panicked with it").todo.pop();
        let Some((file, case)) = next else {
            return;
        };
        let answers = play_case(schema, program, number, &case);
        board
            .lock()
            .expect("nobody panicked with it")
            .played
            .push(Played {
                file,
                case,
                answers,
            });
    }
}

/// Plays one case against an etcd that starts empty and is gone afterwards.
fn play_case(
    schema: &Schema,
    program: &Path,
    number: usize,
    case: &Case,
) -> Outcome<Vec<Vec<String>>> {
    let folder = provision::folder().join(format!("compat-{number}"));
    world::remove_dir(&folder)?;
    let flags = case
        .options
        .iter()
        .map(|(option, value)| flag(option, value));
    let mut flags = flags.collect::<Outcome<Vec<String>>>()?;
    flags.push("--unsafe-no-fsync".into());
    let member = Member::start_with(Kind::Etcd, program, &folder, &flags)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("start a runtime: {error}"))?;
    let answers = runtime.block_on(play(schema, &member.endpoint(), case));
    drop(member);
    world::remove_dir(&folder)?;
    answers
}

/// An option of a case as etcd's flag.
fn flag(option: &str, value: &str) -> Outcome<String> {
    let name = match option {
        "max_txn_ops" => "max-txn-ops",
        "max_request_bytes" => "max-request-bytes",
        "quota_backend_bytes" => "quota-backend-bytes",
        "watch_progress_notify_interval" => "experimental-watch-progress-notify-interval",
        other => return Err(format!("there is no option {other}")),
    };
    Ok(format!("--{name}={value}"))
}

fn compare(case: &Case, answers: &[Vec<String>]) -> Option<String> {
    case.steps().zip(answers).find_map(|(step, answer)| {
        let difference = judge::difference(step.of_etcd(), answer)?;
        Some(format!("> {}\n  {difference}", step.request))
    })
}

fn record(case: &mut Case, answers: Vec<Vec<String>>) {
    let is_marked = case.since.is_some();
    for (step, answer) in case.steps_mut().zip(answers) {
        // What has been recorded and still holds is not written anew: time goes on.
        if judge::difference(step.of_etcd(), &answer).is_some() {
            write_down(step, answer, is_marked);
        }
    }
}

fn write_down(step: &mut Step, answer: Vec<String>, is_marked: bool) {
    if !is_marked || step.contract.is_empty() {
        step.contract = answer;
        step.recorded.clear();
    } else if judge::difference(&step.contract, &answer).is_none() {
        step.recorded.clear();
    } else {
        step.recorded = answer;
    }
}
