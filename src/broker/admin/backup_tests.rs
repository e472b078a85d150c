use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_backup::{Decoder, Part, Summary};
use tidegate_format::{RestoringKey, RestoringValue, TopicKey};
use tidegate_store::{MemoryStore, Store, SystemClock, Txn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::cluster::StoreUseError;
use crate::settings::Settings;
use crate::{RunningBroker, StartError, kafka_uuid};

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

fn settings() -> Settings {
    let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
    Settings { listen: any_port, admin: any_port, data_dir: "/".into(), ..Settings::default() }
}

fn store() -> MemoryStore {
    MemoryStore::new(Arc::new(SystemClock))
}

/// Status and body of a request whose answer ends with the connection.
async fn get(broker: &RunningBroker, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(broker.admin()).await.expect("it listens");
    let head = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(HANG_AFTER, stream.read_to_end(&mut answer)).await;
    read.expect("it does not hang").expect("it ends");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).expect("text");
    (head.split(' ').nth(1).expect("a status").to_owned(), body)
}

fn decode(file: &[u8]) -> (Vec<Vec<u8>>, Summary) {
    let mut decoder = Decoder::new();
    let mut keys = Vec::new();
    decoder.feed(file);
    while let Some(part) = decoder.next_part().expect("it is whole") {
        if let Part::Entries(entries) = part {
            keys.extend(entries.into_iter().map(|(key, _)| key.to_vec()));
        }
    }
    (keys, decoder.finish().expect("it is whole"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_a_whole_file_of_what_is_there() {
    let broker = RunningBroker::start(settings(), store().into()).await.expect("an empty store");
    broker.broker().catalogue.create("flights", 3, BTreeMap::new(), false).await.expect("a topic");
    for path in ["/v1/backup", "/v1/backup?compression=none"] {
        let (status, body) = get(&broker, path).await;
        assert_eq!(status, "200");
        let (keys, summary) = decode(&body);
        assert!(keys.contains(&TopicKey { name: "flights".into() }.encode().to_vec()));
        assert_eq!(summary.header.cluster.map(kafka_uuid).as_ref(), Some(&broker.broker().cluster_id));
        assert_eq!(summary.header.release, env!("CARGO_PKG_VERSION"));
    }
    let (status, body) = get(&broker, "/v1/backup?compression=much").await;
    assert_eq!(status, "400", "{}", String::from_utf8_lossy(&body));
    broker.stop().await;
}

#[tokio::test]
async fn a_store_into_which_a_backup_is_being_restored_is_not_served() {
    let store = store();
    let mut txn = store.begin().await.expect("it begins");
    let mark = RestoringValue {
        attempt: Uuid::from_u128(1),
        snapshot: tidegate_format::OrderVersion(1),
        began_ms: 1,
    };
    txn.put(RestoringKey.encode(), mark.encode());
    txn.commit().await.expect("nobody else writes");
    let refused = RunningBroker::start(settings(), store.into()).await.map(drop);
    let refused = refused.expect_err("it is not whole");
    assert!(matches!(refused, StartError::Store(StoreUseError::Restoring)), "{refused}");
    assert!(refused.to_string().contains("tidegate restore"), "{refused}");
}
