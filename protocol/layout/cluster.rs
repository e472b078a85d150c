//! The cluster: ApiVersions, DescribeCluster, DescribeLogDirs.
//!
//! Source: the message definitions of Apache Kafka (`clients/src/main/resources/common/message`).

use kafka_protocol::messages as m;

use super::Kind::{Array, Fixed, Struct, Tag, Text};
use super::{Layout, WireLayout, all, body, since};

impl WireLayout for m::ApiVersionsRequest {
    const REQUEST: Layout = body(
        3,
        &[
            since(3, Text), // client_software_name
            since(3, Text), // client_software_version
        ],
    );
    const RESPONSE: Layout = body(
        3,
        &[
            all(Fixed(2)), // error_code
            // api_keys
            all(Array(&Struct(&[
                all(Fixed(6)), // api_key, min_version, max_version
            ]))),
            since(1, Fixed(4)), // throttle_time_ms
            // supported_features
            since(
                3,
                Tag(
                    0,
                    &Array(&Struct(&[
                        all(Text),     // name
                        all(Fixed(4)), // min_version, max_version
                    ])),
                ),
            ),
            since(3, Tag(1, &Fixed(8))), // finalized_features_epoch
            // finalized_features
            since(
                3,
                Tag(
                    2,
                    &Array(&Struct(&[
                        all(Text),     // name
                        all(Fixed(4)), // max_version_level, min_version_level
                    ])),
                ),
            ),
            since(3, Tag(3, &Fixed(1))), // zk_migration_ready
        ],
    );
}

impl WireLayout for m::DescribeClusterRequest {
    const REQUEST: Layout = body(
        0,
        &[
            all(Fixed(1)),      // include_cluster_authorized_operations
            since(1, Fixed(1)), // endpoint_type
            since(2, Fixed(1)), // include_fenced_brokers
        ],
    );
    const RESPONSE: Layout = body(
        0,
        &[
            all(Fixed(6)),      // throttle_time_ms, error_code
            all(Text),          // error_message
            since(1, Fixed(1)), // endpoint_type
            all(Text),          // cluster_id
            all(Fixed(4)),      // controller_id
            // brokers
            all(Array(&Struct(&[
                all(Fixed(4)),      // broker_id
                all(Text),          // host
                all(Fixed(4)),      // port
                all(Text),          // rack
                since(2, Fixed(1)), // is_fenced
            ]))),
            all(Fixed(4)), // cluster_authorized_operations
        ],
    );
}

impl WireLayout for m::DescribeLogDirsRequest {
    const REQUEST: Layout = body(
        2,
        &[
            // topics
            all(Array(&Struct(&[
                all(Text),             // topic
                all(Array(&Fixed(4))), // partitions
            ]))),
        ],
    );
    const RESPONSE: Layout = body(
        2,
        &[
            all(Fixed(4)),      // throttle_time_ms
            since(3, Fixed(2)), // error_code
            // results
            all(Array(&Struct(&[
                all(Fixed(2)), // error_code
                all(Text),     // log_dir
                // topics
                all(Array(&Struct(&[
                    all(Text), // name
                    // partitions
                    all(Array(&Struct(&[
                        all(Fixed(21)), // partition_index, partition_size, offset_lag, is_future_key
                    ]))),
                ]))),
                since(4, Fixed(16)), // total_bytes, usable_bytes
            ]))),
        ],
    );
}
