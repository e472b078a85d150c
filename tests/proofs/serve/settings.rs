//! Settings as an operator gives them: in a file, by the environment and by flags.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use tidegate_tests::broker::{Broker, serve, tidegate};
use tidegate_tests::program::run;

/// All settings, as `serve` would have them.
fn shown(command: &mut Command) -> BTreeMap<String, String> {
    let outcome = run(command.args(["serve", "--show-settings"]));
    assert!(outcome.success, "{}", outcome.standard_error);
    let lines = outcome.lines.iter().filter(|line| !line.starts_with('#') && !line.is_empty());
    let pair = |line: &String| {
        let (name, value) = line.split_once(" = ").expect("a name and a value");
        (name.to_owned(), value.trim_matches(['"', '\'']).to_owned())
    };
    lines.map(pair).collect()
}

/// A value that a setting can have; another one for each layer than for the one below.
fn value(name: &str, default: &str, layer: i64) -> String {
    let either = |odd: &str, even: &str| if layer % 2 == 1 { odd.to_owned() } else { even.to_owned() };
    if let Ok(number) = default.parse::<i64>() {
        return (number + layer).to_string();
    }
    match name {
        "listen" | "admin" | "advertised" => format!("127.0.0.1:{}", 9000 + layer),
        "store.url" => format!("tikv://pd{layer}:2379/orders"),
        "store.sync" => format!("interval:{layer}"),
        "tidegate.delivery" => either("scheduled", "immediate"),
        "extension.enable" => either("always", "never"),
        "log.format" => either("json", "text"),
        "event.types" => format!("order.placed=orders-{layer}"),
        _ => match default {
            "true" => either("false", "true"),
            "false" => either("true", "false"),
            _ => format!("/some/file-{layer}"),
        },
    }
}

#[test]
fn every_setting_is_taken_from_a_file_the_environment_and_a_flag_in_that_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    let defaults = shown(&mut tidegate());
    assert!(defaults.len() > 60, "{defaults:?}");
    let layer = |number| -> BTreeMap<String, String> {
        defaults.iter().map(|(name, default)| (name.clone(), value(name, default, number))).collect()
    };
    let (in_file, in_environment, as_flags) = (layer(1), layer(2), layer(3));
    let lines = in_file.iter().map(|(name, value)| format!("{name} = \"{value}\"\n"));
    fs::write(&file, lines.collect::<String>()).expect("the file is written");
    // The store is called otherwise in a file, where other settings begin with its name.
    let called = |name: &str| name.trim_end_matches(".url").to_owned();
    let variable = |name: &str| format!("TIDEGATE_{}", called(name).replace('.', "_").to_uppercase());
    let variables = in_environment.iter().map(|(name, value)| (variable(name), value.clone()));
    let variables: Vec<(String, String)> = variables.collect();
    let flags = as_flags.iter().map(|(name, value)| format!("--{}={value}", called(name).replace('.', "-")));
    let flags: Vec<String> = flags.collect();

    let given_file = |command: &mut Command| {
        command.env("TIDEGATE_CONFIG", &file);
    };
    let mut command = tidegate();
    given_file(&mut command);
    assert_eq!(shown(&mut command), in_file);
    assert_eq!(shown(tidegate().envs(variables.clone())), in_environment);
    // `shown` adds the verb, so flags come behind it.
    let with_flags = |command: &mut Command| {
        let outcome = run(command.args(["serve", "--show-settings"]).args(&flags));
        assert!(outcome.success, "{}", outcome.standard_error);
        outcome.lines
    };
    let only_flags = with_flags(&mut tidegate());
    for (name, value) in &as_flags {
        let written = [format!("{name} = {value}"), format!("{name} = \"{value}\"")];
        assert!(only_flags.iter().any(|line| written.contains(line)), "{name}: {only_flags:?}");
    }
    let mut command = tidegate();
    given_file(&mut command);
    assert_eq!(shown(command.envs(variables.clone())), in_environment, "the environment beats the file");
    let mut command = tidegate();
    given_file(&mut command);
    assert_eq!(with_flags(command.envs(variables)), only_flags, "a flag beats both");
}

#[test]
fn what_is_shown_is_a_file_that_gives_the_same() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    let show = |config: &[&str]| {
        let mut command = tidegate();
        let outcome = run(command.args(["serve", "--show-settings"]).args(config));
        assert!(outcome.success, "{}", outcome.standard_error);
        outcome.lines
    };
    let lines = show(&["--num-partitions", "7", "--listen", "localhost:9092", "--event-types", "a=b, c=d"]);
    fs::write(&file, lines.join("\n")).expect("the file is written");
    assert_eq!(show(&["--config", file.to_str().expect("a temporary path is plain")]), lines);
}

/// Kubernetes gives every pod beside a service called `tidegate` such variables; the broker took them for misspelt settings
/// and did not start there.
#[test]
fn variables_that_point_to_a_service_of_that_name_are_no_settings() {
    let links = [
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_SERVICE_PORT", "9092"),
        ("TIDEGATE_SERVICE_PORT_KAFKA", "9092"),
        ("TIDEGATE_PORT", "tcp://10.0.0.1:9092"),
        ("TIDEGATE_PORT_9092_TCP_ADDR", "10.0.0.1"),
    ];
    let plain = shown(&mut tidegate());
    assert_eq!(shown(tidegate().envs(links)), plain);
}

#[test]
fn a_name_of_this_machine_is_an_address_to_listen_on() {
    let broker = Broker::start();
    let (_, port) = broker.bootstrap().rsplit_once(':').expect("an address");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let taken = format!("localhost:{port}");
    let outcome = run(&mut serve(&directory.path().join("data"), &taken, "127.0.0.1:0"));
    assert!(!outcome.success);
    let said = outcome.standard_error;
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{said}");
}
