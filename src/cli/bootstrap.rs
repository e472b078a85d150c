//! How commands reach a broker that runs.

use anyhow::Context;
use clap::{Arg, ArgMatches};
use tidegate::{Admin, ClientOptions};

/// The flag `--bootstrap`.
pub(crate) fn argument() -> Arg {
    Arg::new("bootstrap")
        .long("bootstrap")
        .short('b')
        .value_name("HOST:PORT")
        .default_value("127.0.0.1:9092")
        .value_parser(addresses)
        .global(true)
        .help("A broker to ask; several with commas between them")
}

/// How to reach the broker that the arguments name.
pub(crate) fn options(matches: &ArgMatches) -> ClientOptions {
    let bootstrap = matches.get_one::<String>("bootstrap").expect("it has a default");
    ClientOptions { call_timeout_ms: 15_000, ..ClientOptions::new(bootstrap) }
}

/// The flag `--admin`.
pub(crate) fn admin_port_argument() -> Arg {
    Arg::new("admin")
        .long("admin")
        .value_name("HOST:PORT")
        .default_value("127.0.0.1:9644")
        .value_parser(address)
        .help("The broker's admin port")
}

/// What to do about a broker that does not answer.
pub(crate) const ADMIN_REMEDY: &str = "is the broker running? --admin HOST:PORT names another one";

fn addresses(text: &str) -> Result<String, String> {
    text.split(',').try_for_each(|one| address(one.trim()).map(drop))?;
    Ok(text.to_owned())
}

fn address(text: &str) -> Result<String, String> {
    let is_one = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if is_one { Ok(text.to_owned()) } else { Err("write HOST:PORT, as in 127.0.0.1:9092".to_owned()) }
}

/// An administrator on the broker that the arguments name.
pub(crate) async fn admin(matches: &ArgMatches) -> anyhow::Result<Admin> {
    Admin::connect(options(matches)).await.context(
        "there is no broker to ask (`tidegate serve` starts one, --bootstrap HOST:PORT names another)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["127.0.0.1:9092", "[::1]:9092", "broker:1, other:65535"] {
            assert_eq!(addresses(good).as_deref(), Ok(good));
        }
        for bad in ["", "nonsense", "broker:", ":9092", "broker:0", "broker:65536", "a:1,,b:2", "a:1,b"] {
            assert!(addresses(bad).is_err(), "{bad}");
        }
    }
}
