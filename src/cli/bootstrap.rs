//! How commands reach a broker that runs.

use clap::{Arg, ArgMatches};
use tidegate::{Admin, ClientOptions};

/// The flag `--bootstrap`.
pub(crate) fn argument() -> Arg {
    Arg::new("bootstrap")
        .long("bootstrap")
        .short('b')
        .value_name("HOST:PORT")
        .default_value("127.0.0.1:9092")
        .global(true)
        .help("A broker to ask; several with commas between them")
}

/// How to reach the broker that the arguments name.
pub(crate) fn options(matches: &ArgMatches) -> ClientOptions {
    let bootstrap = matches.get_one::<String>("bootstrap").expect("it has a default");
    ClientOptions { call_timeout_ms: 15_000, ..ClientOptions::new(bootstrap) }
}

/// An administrator on the broker that the arguments name.
pub(crate) async fn admin(matches: &ArgMatches) -> anyhow::Result<Admin> {
    Ok(Admin::connect(options(matches)).await?)
}
