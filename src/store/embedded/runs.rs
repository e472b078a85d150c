//! The openings of a store and the version that each began with: what a lost answer is settled by.
//!
//! What it is: every opening is a run with a number, and one small file keeps the newest of them. What a run leaves
//! behind is all its transactions up to one, so whether an attempt of an earlier run was applied is whether its version
//! is one that the next run began with. The token of an attempt names its run and its version.
//!
//! What it refuses to do: it guesses nothing. A token of a run that it does not know has no answer.
//!
//! What always holds: a run is written down, durably and in place, before its first commit; no two runs have the same
//! number, also when the file is lost or damaged.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use rand::random;

use super::files::{FileLayer, StoreFile};
use crate::{CommitToken, Outcome, Version};

pub(super) const FILE_NAME: &str = "RUNS";
/// How many runs the file keeps. Tokens of the runs before have no answer any more.
pub(super) const RUNS_KEPT: u64 = 1_024;
/// A run's number, its first version, and their checksum: never across two sectors.
const ENTRY_LEN: usize = 32;
const CONTENT_LEN: usize = 16;
const FILE_LEN: usize = ENTRY_LEN * 1_024;
/// How far the numbers jump at least when it is not known which was the last.
const UNKNOWN_RUNS: u64 = 1 << 32;

/// What is known of an attempt by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempted {
    /// It is one of this run, with this version.
    Now(Version),
    /// It was one of an earlier run.
    Before(Outcome),
    /// It is of no run that is known.
    NotKnown,
}

/// The runs, of which the last is the current one.
#[derive(Debug)]
pub(super) struct Runs {
    began: BTreeMap<u64, Version>,
    current: u64,
}

impl Runs {
    /// Begins a run of a store that holds all transactions up to `version`, and no other.
    pub(super) fn begin(files: &dyn FileLayer, version: Version) -> io::Result<Self> {
        let file = match files.open(FILE_NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.create(FILE_NAME)?,
            Err(error) => return Err(error),
        };
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        if len < FILE_LEN {
            // It is new, or a crash came between. Of its full length, no later opening needs space for it.
            file.write_all_at(len as u64, &vec![0; FILE_LEN - len])?;
            file.sync_data()?;
            files.sync_names()?;
        }
        let (mut began, is_whole) = read(&*file)?;
        let last = began.keys().next_back().copied().unwrap_or(0);
        let current = last + if is_whole { 1 } else { UNKNOWN_RUNS + u64::from(random::<u32>()) };
        let offset = usize::try_from(current % RUNS_KEPT).expect("few runs are kept") * ENTRY_LEN;
        file.write_all_at(offset as u64, &encode(current, version))?;
        file.sync_data()?;
        began.insert(current, version);
        let began = began.split_off(&(current + 1).saturating_sub(RUNS_KEPT));
        Ok(Self { began, current })
    }

    /// Names an attempt of this run that got as far as a version, by a key that it writes.
    pub(super) fn token(&self, key: Bytes, version: Version) -> CommitToken {
        CommitToken { key, nonce: u128::from(self.current) << 64 | u128::from(version.0) }
    }

    /// What is known of the attempt that has this token.
    pub(super) fn find(&self, token: &CommitToken) -> Attempted {
        let run = u64::try_from(token.nonce >> 64).expect("the upper half");
        let version = Version(u64::try_from(token.nonce & u128::from(u64::MAX)).expect("the lower half"));
        if run == self.current {
            return Attempted::Now(version);
        }
        match run.checked_add(1).and_then(|next| self.began.get(&next)) {
            Some(began) if version <= *began => Attempted::Before(Outcome::Applied),
            Some(_) => Attempted::Before(Outcome::NotApplied),
            None => Attempted::NotKnown,
        }
    }
}

/// The runs in the file, and whether nothing of it is damaged.
fn read(file: &dyn StoreFile) -> io::Result<(BTreeMap<u64, Version>, bool)> {
    let mut bytes = vec![0; FILE_LEN];
    file.read_exact_at(0, &mut bytes)?;
    let written = bytes.chunks_exact(ENTRY_LEN).filter(|entry| entry.iter().any(|byte| *byte != 0));
    let entries: Vec<_> = written.map(decode).collect();
    let is_whole = !entries.is_empty() && entries.iter().all(Option::is_some);
    Ok((entries.into_iter().flatten().collect(), is_whole))
}

fn encode(run: u64, version: Version) -> [u8; ENTRY_LEN] {
    let mut entry = [0; ENTRY_LEN];
    entry[..8].copy_from_slice(&run.to_le_bytes());
    entry[8..CONTENT_LEN].copy_from_slice(&version.0.to_le_bytes());
    let crc = crc32c::crc32c(&entry[..CONTENT_LEN]);
    entry[CONTENT_LEN..CONTENT_LEN + 4].copy_from_slice(&crc.to_le_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<(u64, Version)> {
    let u64_at = |at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
    let (run, version) = (u64_at(0)?, Version(u64_at(8)?));
    (encode(run, version) == entry).then_some((run, version))
}
