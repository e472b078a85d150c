//! How many files this process may have open.
//!
//! Every connection takes one, and every segment of the journal that is open to be read. Most systems start a process with a soft limit of 1,024
//! and a hard one that is far higher, and leave it to the process to take what it needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Raises the soft limit to the hard one. That it cannot be raised is said, and no reason not to serve.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => debug!(?current, ?maximum, "more files may be open"),
        Err(error) => warn!(%error, ?current, ?maximum, "the limit of open files cannot be raised"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let lower = before.current.map_or(512, |current| current.min(512));
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), ..before }).expect("lower is allowed");
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
