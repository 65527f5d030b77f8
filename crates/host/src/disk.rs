//! Files in the data directory. Each call does its system call when it is first polled.

use crate::data_dir::LOCK_FILE;
use bytes::Bytes;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use synod_env::disk::{Open, check_path};
use synod_env::{BoxFuture, Disk, File};

pub(crate) struct HostDisk {
    dir: PathBuf,
}

impl HostDisk {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    fn locate(&self, path: &str) -> io::Result<PathBuf> {
        check_path(path)?;
        if path == LOCK_FILE {
            let text = format!("{path:?} is the lock of the data directory");
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(self.dir.join(path))
    }
}

/// Whether an error says that there is no room, on the disk or in the user's share of it.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

fn now<'a, T: Send + 'a>(
    call: impl FnOnce() -> io::Result<T> + Send + 'a,
) -> BoxFuture<'a, io::Result<T>> {
    Box::pin(async move { call() })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the door through which Env::disk reaches the file system"
)]
impl Disk for HostDisk {
    fn open<'a>(&'a self, path: &'a str, how: Open) -> BoxFuture<'a, io::Result<Arc<dyn File>>> {
        now(move || {
            let mut options = OpenOptions::new();
            options.read(true).mode(0o600);
            match how {
                Open::Read => {}
                Open::Write => {
                    options.write(true);
                }
                Open::Create => {
                    options.write(true).create_new(true);
                }
            }
            let file = options.open(self.locate(path)?)?;
            Ok(Arc::new(HostFile(file)) as Arc<dyn File>)
        })
    }

    fn list<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        now(move || {
            let mut names = Vec::new();
            for entry in fs::read_dir(self.locate(dir)?)? {
                let name = entry?.file_name().into_string().map_err(|name| {
                    let text = format!("the name of {dir}/{} is not UTF-8", name.display());
                    io::Error::new(ErrorKind::InvalidData, text)
                })?;
                if !(dir.is_empty() && name == LOCK_FILE) {
                    names.push(name);
                }
            }
            names.sort_unstable();
            Ok(names)
        })
    }

    fn create_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>> {
        now(move || {
            let path = self.locate(dir)?;
            DirBuilder::new().recursive(true).mode(0o700).create(path)
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        now(move || fs::rename(self.locate(from)?, self.locate(to)?))
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        now(move || fs::remove_file(self.locate(path)?))
    }

    fn sync_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>> {
        now(move || fs::File::open(self.locate(dir)?)?.sync_all())
    }

    fn describe(&self, path: &str) -> String {
        self.dir.join(path).display().to_string()
    }
}

struct HostFile(fs::File);

impl File for HostFile {
    fn len(&self) -> BoxFuture<'_, io::Result<u64>> {
        now(|| Ok(self.0.metadata()?.len()))
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        now(move || {
            // The caller's bound may be far beyond the end of the file.
            let rest = self.0.metadata()?.len().saturating_sub(offset);
            let len = usize::try_from(rest).unwrap_or(usize::MAX).min(len);
            let mut bytes = vec![0; len];
            let mut filled = 0;
            while filled < len {
                match self.0.read_at(&mut bytes[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(filled);
            Ok(bytes.into())
        })
    }

    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        now(move || match self.0.write_all_at(&data, offset) {
            Err(error) if is_full(&error) => Err(io::Error::new(ErrorKind::StorageFull, error)),
            result => result,
        })
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        now(|| self.0.sync_data())
    }
}
