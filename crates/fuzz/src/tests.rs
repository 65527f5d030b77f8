use super::{TARGETS, run};
use std::path::Path;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the seeds are files of this crate"
)]
fn no_seed_does_harm() {
    for (name, _) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("seeds")
            .join(name);
        let seeds = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for seed in seeds {
            let path = seed.expect("a folder can be listed").path();
            run(name, &std::fs::read(path).expect("a seed can be read"));
            count += 1;
        }
        assert!(count > 0, "{name} has no seed");
    }
}

#[test]
fn every_folder_of_seeds_is_a_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let folders = std::fs::read_dir(seeds).expect("the seeds are committed");
    for folder in folders {
        let name = folder.expect("a folder can be listed").file_name();
        let known = TARGETS.iter().any(|(target, _)| *target == name);
        assert!(known, "no target is called {name:?}");
    }
}
