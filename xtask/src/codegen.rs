//! `cargo xtask codegen`: the Rust code of `proto/`, written to `crates/api/src/gen`, and beside it
//! the descriptors of the same files, for those who treat messages as data.
//!
//! The code is committed, so that building Synod needs neither `protoc` nor a build script.
//! `--check` writes nothing and fails if the committed code is not what `proto/` says.

use crate::{Outcome, world};
use protox::prost::Message as _;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The files to compile. What they import comes along.
const PROTOS: &[&str] = &[
    "etcdserverpb/rpc.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto",
    "synodpb/limits.proto",
    "v3electionpb/v3election.proto",
    "v3lockpb/v3lock.proto",
];

/// Stands at the head of each generated file.
const NOTICE: &str = "// Generated from proto/ by `cargo xtask codegen`. Change it there.\n\n";

/// The encoded descriptors of all files, without their comments.
const DESCRIPTORS: &str = "descriptors.bin";

/// File name and content of each generated file.
type Generated = BTreeMap<String, Vec<u8>>;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        other => return Err(format!("takes nothing or --check, got {other:?}")),
    };

    let committed = world::root().join("crates/api/src/gen");
    let generated = generate()?;
    if check {
        compare(&generated, &committed)
    } else {
        replace(&generated, &committed)
    }
}

fn generate() -> Outcome<Generated> {
    let include = world::root().join("proto");
    let mut compiler = protox::Compiler::new([&include]).map_err(|error| format!("{error:?}"))?;
    compiler.include_imports(true).include_source_info(true);
    let compiled = compiler.open_files(PROTOS);
    let descriptors = compiled
        .map_err(|error| format!("{error:?}"))?
        .file_descriptor_set();
    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }

    let services = tonic_prost_build::configure()
        // A client is made from any channel; `connect` would pull the transport into the crate.
        .build_transport(false)
        .service_generator();
    let mut config = prost_build::Config::new();
    // Keys and values share the buffer they came in instead of being copied out of it.
    config.bytes(["."]).service_generator(services);

    let modules = descriptors.file.into_iter().map(|file| {
        let module = prost_build::Module::from_protobuf_package_name(file.package());
        (module, file)
    });
    let sources = config
        .generate(modules.collect())
        .map_err(|error| format!("generate: {error}"))?;
    let sources = sources.into_iter().map(|(module, source)| {
        let source = format(&format!("{NOTICE}{source}"))?;
        Ok((module.to_file_name_or("_"), source.into_bytes()))
    });
    let mut generated = sources.collect::<Outcome<Generated>>()?;
    generated.insert(DESCRIPTORS.into(), bare.encode_to_vec());
    Ok(generated)
}

/// What `cargo fmt` would make of `source`.
fn format(source: &str) -> Outcome<String> {
    let fail = |error: std::io::Error| format!("rustfmt: {error}");
    let mut rustfmt = Command::new("rustfmt")
        .arg("--config-path")
        .arg(world::root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let mut stdin = rustfmt.stdin.take().expect("it was piped just now");
    let source = source.to_owned();
    // rustfmt may begin to write before it has read everything.
    let writer = world::beside(move || stdin.write_all(source.as_bytes()));
    let output = rustfmt.wait_with_output().map_err(fail)?;
    writer
        .join()
        .expect("writing does not panic")
        .map_err(fail)?;
    if !output.status.success() {
        return Err(format!("rustfmt ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("rustfmt: {error}"))
}

fn compare(generated: &Generated, folder: &Path) -> Outcome {
    let mut committed = Generated::new();
    for path in world::files(folder, "")? {
        let name = path.file_name().expect("a file of a folder has a name");
        committed.insert(
            name.to_string_lossy().into_owned(),
            world::read_bytes(&path)?,
        );
    }

    let mut names: Vec<&String> = generated.keys().chain(committed.keys()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| generated.get(*name) != committed.get(*name));
    if names.is_empty() {
        Ok(())
    } else {
        let folder = folder.display();
        Err(format!(
            "{names:?} in {folder} differ from proto/: run `cargo xtask codegen`"
        ))
    }
}

/// Writes all files; one that is no longer generated does not stay behind.
fn replace(generated: &Generated, folder: &Path) -> Outcome {
    world::remove_dir(folder)?;
    world::create_dir(folder)?;
    for (name, content) in generated {
        world::write_bytes(&folder.join(name), content)?;
    }
    Ok(())
}
