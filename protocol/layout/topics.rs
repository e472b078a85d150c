//! Topics and configurations: Metadata, CreateTopics, DeleteTopics, CreatePartitions, DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
//!
//! Source: the message definitions of Apache Kafka (`clients/src/main/resources/common/message`).

use kafka_protocol::messages as m;

use super::Kind::{Array, Fixed, Struct, Tag, Text};
use super::{Layout, WireLayout, all, between, body, since, until};

impl WireLayout for m::MetadataRequest {
    const REQUEST: Layout = body(
        9,
        &[
            // topics
            all(Array(&Struct(&[
                since(10, Fixed(16)), // topic_id
                all(Text),            // name
            ]))),
            since(4, Fixed(1)),       // allow_auto_topic_creation
            between(8, 10, Fixed(1)), // include_cluster_authorized_operations
            since(8, Fixed(1)),       // include_topic_authorized_operations
        ],
    );
    const RESPONSE: Layout = body(
        9,
        &[
            since(3, Fixed(4)), // throttle_time_ms
            // brokers
            all(Array(&Struct(&[
                all(Fixed(4)),  // node_id
                all(Text),      // host
                all(Fixed(4)),  // port
                since(1, Text), // rack
            ]))),
            since(2, Text),     // cluster_id
            since(1, Fixed(4)), // controller_id
            // topics
            all(Array(&Struct(&[
                all(Fixed(2)),        // error_code
                all(Text),            // name
                since(10, Fixed(16)), // topic_id
                since(1, Fixed(1)),   // is_internal
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(10)),             // error_code, partition_index, leader_id
                    since(7, Fixed(4)),         // leader_epoch
                    all(Array(&Fixed(4))),      // replica_nodes
                    all(Array(&Fixed(4))),      // isr_nodes
                    since(5, Array(&Fixed(4))), // offline_replicas
                ]))),
                since(8, Fixed(4)), // topic_authorized_operations
            ]))),
            between(8, 10, Fixed(4)), // cluster_authorized_operations
            since(13, Fixed(2)),      // error_code
        ],
    );
}

impl WireLayout for m::CreateTopicsRequest {
    const REQUEST: Layout = body(
        5,
        &[
            // topics
            all(Array(&Struct(&[
                all(Text),     // name
                all(Fixed(6)), // num_partitions, replication_factor
                // assignments
                all(Array(&Struct(&[
                    all(Fixed(4)),         // partition_index
                    all(Array(&Fixed(4))), // broker_ids
                ]))),
                // configs
                all(Array(&Struct(&[
                    all(Text), // name
                    all(Text), // value
                ]))),
            ]))),
            all(Fixed(5)), // timeout_ms, validate_only
        ],
    );
    const RESPONSE: Layout = body(
        5,
        &[
            all(Fixed(4)), // throttle_time_ms
            // topics
            all(Array(&Struct(&[
                all(Text),           // name
                since(7, Fixed(16)), // topic_id
                all(Fixed(2)),       // error_code
                all(Text),           // error_message
                since(5, Fixed(6)),  // num_partitions, replication_factor
                // configs
                since(
                    5,
                    Array(&Struct(&[
                        all(Text),     // name
                        all(Text),     // value
                        all(Fixed(3)), // read_only, config_source, is_sensitive
                    ])),
                ),
                since(5, Tag(0, &Fixed(2))), // topic_config_error_code
            ]))),
        ],
    );
}

impl WireLayout for m::DeleteTopicsRequest {
    const REQUEST: Layout = body(
        4,
        &[
            // topics
            since(
                6,
                Array(&Struct(&[
                    all(Text),      // name
                    all(Fixed(16)), // topic_id
                ])),
            ),
            until(5, Array(&Text)), // topic_names
            all(Fixed(4)),          // timeout_ms
        ],
    );
    const RESPONSE: Layout = body(
        4,
        &[
            all(Fixed(4)), // throttle_time_ms
            // responses
            all(Array(&Struct(&[
                all(Text),           // name
                since(6, Fixed(16)), // topic_id
                all(Fixed(2)),       // error_code
                since(5, Text),      // error_message
            ]))),
        ],
    );
}

impl WireLayout for m::CreatePartitionsRequest {
    const REQUEST: Layout = body(
        2,
        &[
            // topics
            all(Array(&Struct(&[
                all(Text),     // name
                all(Fixed(4)), // count
                // assignments
                all(Array(&Struct(&[
                    all(Array(&Fixed(4))), // broker_ids
                ]))),
            ]))),
            all(Fixed(5)), // timeout_ms, validate_only
        ],
    );
    const RESPONSE: Layout = body(
        2,
        &[
            all(Fixed(4)), // throttle_time_ms
            // results
            all(Array(&Struct(&[
                all(Text),     // name
                all(Fixed(2)), // error_code
                all(Text),     // error_message
            ]))),
        ],
    );
}

impl WireLayout for m::DescribeConfigsRequest {
    const REQUEST: Layout = body(
        4,
        &[
            // resources
            all(Array(&Struct(&[
                all(Fixed(1)),     // resource_type
                all(Text),         // resource_name
                all(Array(&Text)), // configuration_keys
            ]))),
            all(Fixed(1)),      // include_synonyms
            since(3, Fixed(1)), // include_documentation
        ],
    );
    const RESPONSE: Layout = body(
        4,
        &[
            all(Fixed(4)), // throttle_time_ms
            // results
            all(Array(&Struct(&[
                all(Fixed(2)), // error_code
                all(Text),     // error_message
                all(Fixed(1)), // resource_type
                all(Text),     // resource_name
                // configs
                all(Array(&Struct(&[
                    all(Text),     // name
                    all(Text),     // value
                    all(Fixed(3)), // read_only, config_source, is_sensitive
                    // synonyms
                    all(Array(&Struct(&[
                        all(Text),     // name
                        all(Text),     // value
                        all(Fixed(1)), // source
                    ]))),
                    since(3, Fixed(1)), // config_type
                    since(3, Text),     // documentation
                ]))),
            ]))),
        ],
    );
}

impl WireLayout for m::AlterConfigsRequest {
    const REQUEST: Layout = body(
        2,
        &[
            // resources
            all(Array(&Struct(&[
                all(Fixed(1)), // resource_type
                all(Text),     // resource_name
                // configs
                all(Array(&Struct(&[
                    all(Text), // name
                    all(Text), // value
                ]))),
            ]))),
            all(Fixed(1)), // validate_only
        ],
    );
    const RESPONSE: Layout = body(
        2,
        &[
            all(Fixed(4)), // throttle_time_ms
            // responses
            all(Array(&Struct(&[
                all(Fixed(2)), // error_code
                all(Text),     // error_message
                all(Fixed(1)), // resource_type
                all(Text),     // resource_name
            ]))),
        ],
    );
}

impl WireLayout for m::IncrementalAlterConfigsRequest {
    const REQUEST: Layout = body(
        1,
        &[
            // resources
            all(Array(&Struct(&[
                all(Fixed(1)), // resource_type
                all(Text),     // resource_name
                // configs
                all(Array(&Struct(&[
                    all(Text),     // name
                    all(Fixed(1)), // config_operation
                    all(Text),     // value
                ]))),
            ]))),
            all(Fixed(1)), // validate_only
        ],
    );
    const RESPONSE: Layout = body(
        1,
        &[
            all(Fixed(4)), // throttle_time_ms
            // responses
            all(Array(&Struct(&[
                all(Fixed(2)), // error_code
                all(Text),     // error_message
                all(Fixed(1)), // resource_type
                all(Text),     // resource_name
            ]))),
        ],
    );
}
