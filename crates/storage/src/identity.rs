//! Who a member is: the file `member`.
//!
//! A directory belongs to one member of one cluster for good. Each start counts one up, durably
//! and before anything else: the count (incarnation) tells a member's present life from an
//! earlier one, so that what the earlier one still has under way cannot be taken for its own.
//!
//! A member also remembers by which disks it knows the founding members of its cluster: so that
//! one who comes back with an empty disk, and has forgotten what it promised, is told from one
//! who was merely away.

use crate::error::{Damage, StorageError, version};
use bytes::{Buf, BufMut, Bytes};
use std::collections::BTreeMap;
use std::io;
use synod_env::disk::Open;
use synod_env::{Disk, Env};

const PATH: &str = "member";
const TEMPORARY_PATH: &str = "member.tmp";
pub(crate) const MAGIC: &[u8; 8] = b"SYNODMBR";
/// The format version that is written.
const FORMAT_VERSION: u32 = 2;
/// The first format version, which knew clusters of one only and has no table of disks.
const VERSION_ALONE: u32 = 1;
/// Magic, checksum, version, and the fields of fixed size.
const FIXED_BYTES: usize = 8 + 4 + 4 + 8 + 8 + 16 + 8 + 2;
/// Longest cluster token, in bytes.
const TOKEN_BYTES_MAX: usize = 1024;
/// A member and its disk.
const DISK_BYTES: usize = 8 + 16;
/// Most founding members.
const DISKS_MAX: usize = 64;
/// The incarnation of a directory that is being filled with a state: no start gets so far.
const UNFINISHED: u64 = u64::MAX;
/// Longest file, in bytes.
const BYTES_MAX: usize = FIXED_BYTES + TOKEN_BYTES_MAX + 2 + DISKS_MAX * DISK_BYTES;

/// What a start asks the directory to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The cluster.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
    /// What the operator calls the cluster, at most 1 KiB. Two clusters with equal members differ
    /// by it.
    pub token: String,
}

/// What the directory is, and which start this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
    /// Drawn when the directory was founded: a restored copy is told from the original by what
    /// the cluster remembers of it.
    pub disk_id: u128,
    /// Which start of this member this is; the first is 1. 0 before it, in a directory that was
    /// filled with a state.
    pub incarnation: u64,
    /// What the operator calls the cluster.
    pub token: String,
    /// By which disk each founding member is known, this one included; absent until the cluster
    /// is founded as far as this member knows.
    pub disks: Option<BTreeMap<u64, u128>>,
}

impl Identity {
    /// Reads the directory's identity, without changing anything. `None` if it has none.
    ///
    /// # Errors
    /// [`StorageError`]: `Io`, `Corrupt`, `Newer`, `Older`.
    pub async fn read(env: &Env) -> Result<Option<Self>, StorageError> {
        let disk = env.disk();
        let name = || disk.describe(PATH);
        let file = match disk.open(PATH, Open::Read).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io(name(), "open")(error)),
        };
        let bytes = file
            .read_at(0, BYTES_MAX + 1)
            .await
            .map_err(StorageError::io(name(), "read"))?;
        Self::decode(&bytes, name()).map(Some)
    }

    /// Begins one more life of the member: checks that the directory is its own and counts the
    /// incarnation up, or founds it if it is empty. When this ends the new count is durable.
    ///
    /// # Errors
    /// [`StorageError`]: `Mismatch` if the directory is another's, `Missing` if it holds a log or
    /// a snapshot but no identity, `Unfinished` if it was not filled to the end; `Io`, `Corrupt`,
    /// `Newer`, `Older`.
    ///
    /// # Panics
    /// If the token is longer than 1 KiB: the configuration checks it.
    pub async fn start(env: &Env, founding: &Founding) -> Result<Self, StorageError> {
        let token_bytes = founding.token.len();
        assert!(
            token_bytes <= TOKEN_BYTES_MAX,
            "a token of {token_bytes} bytes"
        );
        let identity = match Self::read(env).await? {
            Some(found) => {
                if found.incarnation == UNFINISHED {
                    let file = env.disk().describe(PATH);
                    return Err(StorageError::Unfinished { file });
                }
                found.check(env, founding)?;
                Self {
                    incarnation: found.incarnation + 1,
                    ..found
                }
            }
            None => {
                check_empty(env).await?;
                Self {
                    incarnation: 1,
                    ..Self::new(env, founding)
                }
            }
        };
        identity.write(env).await?;
        Ok(identity)
    }

    /// Takes possession of an empty directory, or of one whose filling was not finished, to fill it
    /// with a state. Until [`Identity::filled`] ends the member cannot be started on it.
    ///
    /// # Errors
    /// [`StorageError`]: `Occupied` if the directory holds anything else; `Io`, `Corrupt`, `Newer`,
    /// `Older`.
    ///
    /// # Panics
    /// If the token is longer than 1 KiB: the configuration checks it.
    pub async fn fill(env: &Env, founding: &Founding) -> Result<Self, StorageError> {
        let token_bytes = founding.token.len();
        assert!(
            token_bytes <= TOKEN_BYTES_MAX,
            "a token of {token_bytes} bytes"
        );
        let disk = env.disk();
        let names = entries(disk.as_ref(), "").await?;
        let is_unfinished = Self::read(env)
            .await?
            .is_some_and(|found| found.incarnation == UNFINISHED);
        if let Some(name) = names.into_iter().find(|name| name != TEMPORARY_PATH)
            && !is_unfinished
        {
            let file = disk.describe(&name);
            return Err(StorageError::Occupied { file });
        }
        let identity = Self {
            incarnation: UNFINISHED,
            ..Self::new(env, founding)
        };
        identity.write(env).await?;
        Ok(identity)
    }

    /// Says that the directory holds all that it is to begin with, durably: from now on the member
    /// can be started, and this start will be its first.
    ///
    /// # Errors
    /// [`StorageError::Io`]. Whether the directory counts as filled then is unknown.
    ///
    /// # Panics
    /// If the directory is not being filled.
    pub async fn filled(self, env: &Env) -> Result<(), StorageError> {
        let Self { incarnation, .. } = self;
        assert!(incarnation == UNFINISHED, "start {incarnation} of a member");
        let filled = Self {
            incarnation: 0,
            ..self
        };
        filled.write(env).await
    }

    /// Of a directory that has none yet.
    fn new(env: &Env, founding: &Founding) -> Self {
        let Founding {
            cluster_id,
            member_id,
            token,
        } = founding.clone();
        Self {
            cluster_id,
            member_id,
            disk_id: u128::from(env.random()) << 64 | u128::from(env.random()),
            incarnation: 0,
            token,
            disks: None,
        }
    }

    /// Puts on record by which disks the founding members are known. Durable when this ends; the
    /// engine starts only then. The same table can be put on record again.
    ///
    /// # Errors
    /// [`StorageError::Io`]. What is on record then, this table or none, is unknown.
    ///
    /// # Panics
    /// If another table is on record, or this one is not of 1 to 64 members with this member's
    /// own disk among them: a founding happens once.
    pub async fn record_disks(
        &mut self,
        env: &Env,
        disks: BTreeMap<u64, u128>,
    ) -> Result<(), StorageError> {
        let own = disks.get(&self.member_id);
        assert_eq!(own, Some(&self.disk_id), "member {:x}", self.member_id);
        assert!(disks.len() <= DISKS_MAX, "{} members", disks.len());
        match &self.disks {
            Some(recorded) => {
                assert_eq!(*recorded, disks, "the cluster was founded before");
                Ok(())
            }
            None => {
                let founded = Self {
                    disks: Some(disks),
                    ..self.clone()
                };
                founded.write(env).await?;
                *self = founded;
                Ok(())
            }
        }
    }

    fn check(&self, env: &Env, founding: &Founding) -> Result<(), StorageError> {
        let Founding {
            cluster_id,
            member_id,
            token,
        } = founding;
        let mismatch = |what, expected: String, found: String| {
            let file = env.disk().describe(PATH);
            Err(StorageError::Mismatch {
                file,
                what,
                expected,
                found,
            })
        };
        if self.token != *token {
            return mismatch(
                "cluster token",
                format!("{token:?}"),
                format!("{:?}", self.token),
            );
        }
        if self.cluster_id != *cluster_id {
            let hex = |id: u64| format!("{id:x}");
            return mismatch("cluster id", hex(*cluster_id), hex(self.cluster_id));
        }
        if self.member_id != *member_id {
            let hex = |id: u64| format!("{id:x}");
            return mismatch("member id", hex(*member_id), hex(self.member_id));
        }
        Ok(())
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    async fn write(&self, env: &Env) -> Result<(), StorageError> {
        let disk = env.disk();
        let io = |doing| StorageError::io(disk.describe(TEMPORARY_PATH), doing);
        match disk.remove(TEMPORARY_PATH).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io("remove")(error)),
        }
        let file = disk
            .open(TEMPORARY_PATH, Open::Create)
            .await
            .map_err(io("create"))?;
        file.write_at(0, self.encode()).await.map_err(io("write"))?;
        file.sync().await.map_err(io("sync"))?;
        disk.rename(TEMPORARY_PATH, PATH)
            .await
            .map_err(io("rename"))?;
        disk.sync_dir("")
            .await
            .map_err(StorageError::io(disk.describe(""), "sync"))
    }

    pub(crate) fn encode(&self) -> Bytes {
        let Self {
            cluster_id,
            member_id,
            disk_id,
            incarnation,
            token,
            disks,
        } = self;
        let mut bytes = Vec::new();
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(0);
        bytes.put_u32_le(FORMAT_VERSION);
        bytes.put_u64_le(*cluster_id);
        bytes.put_u64_le(*member_id);
        bytes.put_u128_le(*disk_id);
        bytes.put_u64_le(*incarnation);
        bytes.put_u16_le(u16::try_from(token.len()).expect("a token has at most 1 KiB"));
        bytes.put_slice(token.as_bytes());
        // No table at all is written as one of nobody, which no cluster has.
        let table = disks.iter().flatten();
        let count = table.clone().count();
        bytes.put_u16_le(u16::try_from(count).expect("at most 64 members"));
        for (member, disk_id) in table {
            bytes.put_u64_le(*member);
            bytes.put_u128_le(*disk_id);
        }
        let checksum = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        Bytes::from(bytes)
    }

    pub(crate) fn decode(bytes: &[u8], file: String) -> Result<Self, StorageError> {
        let mut rest = crate::error::checked_head(bytes, MAGIC, FIXED_BYTES, &file)?;
        let found = rest.get_u32_le();
        if !(VERSION_ALONE..=FORMAT_VERSION).contains(&found) {
            return Err(version(file, found, FORMAT_VERSION));
        }
        let cluster_id = rest.get_u64_le();
        let member_id = rest.get_u64_le();
        let disk_id = rest.get_u128_le();
        let incarnation = rest.get_u64_le();
        let token_bytes = usize::from(rest.get_u16_le());
        let damaged = |expected: String, rest: &[u8]| {
            StorageError::Corrupt(Damage {
                file: file.clone(),
                offset: u64::try_from(bytes.len() - rest.len()).expect("u64 holds a length"),
                expected,
                found: format!("{} bytes", rest.len()),
            })
        };
        let token = rest.get(..token_bytes).map(<[u8]>::to_vec);
        let token = token.and_then(|token| String::from_utf8(token).ok());
        let Some(token) = token else {
            return Err(damaged(format!("a token of {token_bytes} bytes"), rest));
        };
        rest.advance(token_bytes);
        let count = match found {
            VERSION_ALONE => 0,
            _ if rest.len() < 2 => return Err(damaged("a table of disks".to_owned(), rest)),
            _ => usize::from(rest.get_u16_le()),
        };
        if rest.len() != count * DISK_BYTES {
            return Err(damaged(format!("a table of {count} disks"), rest));
        }
        let disks: BTreeMap<_, _> = (0..count)
            .map(|_| (rest.get_u64_le(), rest.get_u128_le()))
            .collect();
        Ok(Self {
            cluster_id,
            member_id,
            disk_id,
            incarnation,
            token,
            disks: match found {
                VERSION_ALONE => Some(BTreeMap::from([(member_id, disk_id)])),
                _ => (!disks.is_empty()).then_some(disks),
            },
        })
    }
}

/// A directory without identity must not hold what only a member can have written.
async fn check_empty(env: &Env) -> Result<(), StorageError> {
    let disk = env.disk();
    for dir in [crate::segment::LOG_DIR, crate::manifest::SNAPSHOT_DIR] {
        if let Some(name) = entries(disk.as_ref(), dir)
            .await?
            .into_iter()
            .find(|name| !name.ends_with(".tmp"))
        {
            let found = disk.describe(&format!("{dir}/{name}"));
            return Err(StorageError::Missing {
                file: disk.describe(PATH),
                evidence: format!("the directory is not empty, it holds {found}"),
            });
        }
    }
    Ok(())
}

async fn entries(disk: &dyn Disk, dir: &str) -> Result<Vec<String>, StorageError> {
    match disk.list(dir).await {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StorageError::io(disk.describe(dir), "list")(error)),
    }
}

#[cfg(test)]
mod tests;
