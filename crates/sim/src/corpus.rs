//! The regression corpus: every file of `testdata/scenarios` is run, and must hold what it
//! promises. Each says in its prose what it is about.

use crate::{Scenario, file, run};
use std::path::PathBuf;

fn corpus() -> Vec<(String, String)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn scenarios() -> Vec<(String, Scenario)> {
    corpus()
        .into_iter()
        .map(|(name, text)| {
            let prose = file::prose(&text);
            assert!(prose.len() > 40, "{name} does not say what it is about");
            match file::read(&text) {
                Ok(scenario) => (name, scenario),
                Err(mistake) => panic!("{name}:{mistake}"),
            }
        })
        .collect()
}

#[test]
fn every_scenario_of_the_corpus_holds() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 10, "only {} scenarios", scenarios.len());
    let mut failed = String::new();
    for (name, scenario) in scenarios {
        let report = run(&scenario);
        if !report.verdict.passed() {
            failed.push_str(&format!("{name}: {}\n", report.verdict));
        }
        assert!(
            scenario.faults.is_empty() || !report.faults_bitten.is_empty(),
            "{name}: no fault bit"
        );
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn a_scenario_runs_the_same_every_time() {
    for (name, scenario) in scenarios().into_iter().take(3) {
        let (first, second) = (run(&scenario), run(&scenario));
        assert_eq!(first, second, "{name}");
    }
}
