//! Where a backup is taken from and restored to, and what is refused there.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use rdkafka::Message;
use rdkafka::message::OwnedMessage;
use tidegate_tests::admin::create_topic;
use tidegate_tests::broker::{Broker, on};
use tidegate_tests::log_reader::read_messages;
use tidegate_tests::tikv_cluster::TikvCluster;

use crate::fixture::{
    PARTITIONS, TOPIC, backup, done, ends, fill, json, partial, place, produce, refused, restore, text,
    tidegate,
};

#[test]
fn what_is_not_empty_damaged_cut_or_no_backup_is_refused_with_the_place() {
    let (directory, file) = place();
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 4);
    done(&mut backup(&broker, &file));
    let again = refused(&mut backup(&broker, &file));
    assert!(again.contains("is there already") && again.contains("--replace"), "{again}");
    assert!(!partial(&file).exists());

    let data = directory.path().join("data");
    let whole = fs::read(&file).expect("it can be read");
    let wrong = directory.path().join("wrong");
    let middle = whole.len() / 2;
    let damaged = [&whole[..middle], &[whole[middle] ^ 1], &whole[middle + 1..]].concat();
    for (bytes, said) in [
        (&whole[..middle], "cut off: it ends at byte"),
        (&whole[..whole.len() - 1], "cut off"),
        (&damaged[..], "damaged"),
        (b"something else", "not a backup"),
        (b"TIDEGBAK\0\0\0\x02", "format 2"),
        (&[&whole[..], b"more"].concat()[..], "more than it should"),
    ] {
        fs::write(&wrong, bytes).expect("it can be written");
        let refusal = refused(&mut restore(&wrong, &data));
        assert!(refusal.contains(said) && refusal.contains("wrong"), "{said}: {refusal}");
        assert!(!data.exists(), "nothing is written for a file that is not whole");
        let refusal = refused(&mut tidegate(&["restore", "--from", text(&wrong), "--check"]));
        assert!(refusal.contains(said), "{said}: {refusal}");
    }
    done(&mut tidegate(&["restore", "--from", text(&file), "--check"]));
    assert!(!data.exists());

    done(&mut restore(&file, &data));
    let refusal = refused(&mut restore(&file, &data));
    assert!(refusal.contains("not empty"), "{refusal}");
    let refusal = refused(&mut restore(&file, &broker.data_directory()));
    assert!(refusal.contains("in use by process"), "{refusal}");
    assert!(broker.is_running());
}

#[test]
fn through_pipes_from_a_directory_and_as_a_copy_with_an_id_of_its_own() {
    let (directory, file) = place();
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 4);
    let refusal = refused(&mut tidegate(&[
        "backup",
        "--data-dir",
        text(&broker.data_directory()),
        "--to",
        text(&file),
    ]));
    assert!(refusal.contains("--admin") && refusal.contains("in use by process"), "{refusal}");
    let id = cluster_id(&broker);
    let before = ends(&broker);
    assert!(broker.terminate().success());

    // No broker serves it: read where it lies, piped, and written as it is checked.
    let missing = directory.path().join("missing");
    let refusal = refused(&mut tidegate(&["backup", "--data-dir", text(&missing), "--to", "-"]));
    assert!(refusal.contains("no store in") && !missing.exists(), "{refusal}");
    let piped = directory.path().join("piped");
    let data = directory.path().join("copy");
    let taken = tidegate(&["backup", "--data-dir", text(&broker.data_directory()), "--to", "-"])
        .stdout(File::create(&piped).expect("a file"))
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    assert!(taken.success());
    let restored = tidegate(&["restore", "--from", "-", "--data-dir", text(&data), "--new-cluster-id"])
        .stdin(File::open(&piped).expect("a file"))
        .stdout(Stdio::null())
        .status()
        .expect("it runs");
    assert!(restored.success());

    broker.restart();
    let mut copy = Broker::start();
    copy.kill();
    copy.replace_data(|place| fs::rename(&data, place).expect("it can be moved"));
    copy.restart();
    assert_eq!(ends(&copy), before);
    assert_eq!(cluster_id(&broker), id, "the original keeps its own");
    assert_ne!(cluster_id(&copy), id, "the copy has another");
}

/// The id of the cluster, as a backup has it.
fn cluster_id(broker: &Broker) -> String {
    let (_directory, file) = place();
    let said = json(&done(backup(broker, &file).arg("--json")));
    said["cluster_id"].as_str().expect("a broker has served it").to_owned()
}

#[test]
fn a_namespace_of_a_cluster_goes_into_another_one_and_into_a_directory_and_back() {
    let (directory, file) = place();
    let cluster = TikvCluster::start();
    let [source, target, back] = [(); 3].map(|()| cluster.fresh_namespace());
    let broker = Broker::start_with(&on(&source));
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    produce(broker.bootstrap(), "record", 50);
    let before = ends(&broker);

    // Through the broker, and beside it.
    done(&mut backup(&broker, &file));
    let direct = directory.path().join("direct");
    done(&mut tidegate(&["backup", "--store", &source, "--to", text(&direct)]));
    let into = |store: &str, file: &Path| tidegate(&["restore", "--from", text(file), "--store", store]);
    let refusal = refused(&mut into(&source, &file));
    assert!(refusal.contains("not empty"), "{refusal}");

    done(&mut into(&target, &file));
    assert_eq!(ends(&Broker::start_with(&on(&target))), before);

    let data = directory.path().join("data");
    done(&mut restore(&direct, &data));
    let again = directory.path().join("again");
    done(&mut tidegate(&["backup", "--data-dir", text(&data), "--to", text(&again)]));
    done(&mut into(&back, &again));
    let copy = Broker::start_with(&on(&back));
    assert_eq!(ends(&copy), before);
    let records = |broker: &Broker| {
        let log = read_messages(broker.bootstrap(), TOPIC, PARTITIONS);
        let payload = |message: &OwnedMessage| message.payload().map(<[u8]>::to_vec);
        log.into_values().map(|messages| messages.iter().map(payload).collect()).collect::<Vec<Vec<_>>>()
    };
    assert_eq!(records(&copy), records(&broker));
}
