//! `synod snapshot save`.

use super::file::DIGEST_BYTES;
use crate::client::{ClientArgs, failure};
use crate::exit::{Exit, Failure};
use crate::outside;
use crate::progress::Progress;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;

/// Takes the digest of a stream whose last bytes are the digest of all before them.
#[derive(Default)]
struct Tail {
    digest: Sha256,
    /// What may be the digest: the last bytes so far.
    last: Vec<u8>,
}

impl Tail {
    fn update(&mut self, piece: &[u8]) {
        self.last.extend_from_slice(piece);
        let certain = self.last.len().saturating_sub(DIGEST_BYTES);
        self.digest.update(&self.last[..certain]);
        self.last.drain(..certain);
    }

    fn fits(self) -> bool {
        self.digest.finalize()[..] == self.last[..]
    }
}

/// Streams a member's state into a file.
///
/// # Errors
/// The file does not exist then; what was received so far is in `FILE.part`.
pub(super) async fn run(args: &ClientArgs, path: &Path) -> Result<(), Failure> {
    let at = path.display();
    if outside::exists(path) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{at} exists; name another file, or move that one away"),
        ));
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let disk = |error: io::Error| {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let exit = if matches!(error.kind(), StorageFull | QuotaExceeded) {
            Exit::DiskFull
        } else {
            Exit::Failed
        };
        Failure::new(exit, format!("cannot write {}: {error}", part.display()))
    };

    let mut stream = args.connect()?.snapshot().await.map_err(failure)?;
    let mut file = outside::create_file(part).map_err(disk)?;
    let (mut tail, mut bytes) = (Tail::default(), 0);
    let mut progress = Progress::new("received");
    while let Some(piece) = stream.next().await.map_err(failure)? {
        tail.update(&piece.blob);
        io::Write::write_all(&mut file, &piece.blob).map_err(disk)?;
        bytes += piece.blob.len() as u64;
        let whole = bytes.saturating_add(piece.remaining_bytes);
        progress.bytes(bytes, Some(whole));
    }
    if !tail.fits() {
        return Err(Failure::new(
            Exit::Corrupt,
            format!("what was received does not fit its digest ({bytes} bytes); try again"),
        ));
    }
    file.sync_all().map_err(disk)?;
    outside::rename_durably(part, path).map_err(disk)?;
    outside::say(format_args!("Snapshot saved at {at}"));
    Ok(())
}
