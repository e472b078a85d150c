//! Records and offsets: Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, DeleteRecords, InitProducerId.
//!
//! Source: the message definitions of Apache Kafka (`clients/src/main/resources/common/message`).

use kafka_protocol::messages as m;

use super::Kind::{Array, Bytes, Fixed, Struct, Tag, Text};
use super::{Layout, WireLayout, all, body, since, until};

impl WireLayout for m::ProduceRequest {
    const REQUEST: Layout = body(
        9,
        &[
            all(Text),     // transactional_id
            all(Fixed(6)), // acks, timeout_ms
            // topic_data
            all(Array(&Struct(&[
                until(12, Text),      // name
                since(13, Fixed(16)), // topic_id
                // partition_data
                all(Array(&Struct(&[
                    all(Fixed(4)), // index
                    all(Bytes),    // records
                ]))),
            ]))),
        ],
    );
    const RESPONSE: Layout = body(
        9,
        &[
            // responses
            all(Array(&Struct(&[
                until(12, Text),      // name
                since(13, Fixed(16)), // topic_id
                // partition_responses
                all(Array(&Struct(&[
                    all(Fixed(22)),     // index, error_code, base_offset, log_append_time_ms
                    since(5, Fixed(8)), // log_start_offset
                    // record_errors
                    since(
                        8,
                        Array(&Struct(&[
                            all(Fixed(4)), // batch_index
                            all(Text),     // batch_index_error_message
                        ])),
                    ),
                    since(8, Text), // error_message
                    // current_leader
                    since(
                        10,
                        Tag(
                            0,
                            &Struct(&[
                                all(Fixed(8)), // leader_id, leader_epoch
                            ]),
                        ),
                    ),
                ]))),
            ]))),
            all(Fixed(4)), // throttle_time_ms
            // node_endpoints
            since(
                10,
                Tag(
                    0,
                    &Array(&Struct(&[
                        all(Fixed(4)), // node_id
                        all(Text),     // host
                        all(Fixed(4)), // port
                        all(Text),     // rack
                    ])),
                ),
            ),
        ],
    );
}

impl WireLayout for m::FetchRequest {
    const REQUEST: Layout = body(
        12,
        &[
            until(14, Fixed(4)), // replica_id
            all(Fixed(13)),      // max_wait_ms, min_bytes, max_bytes, isolation_level
            since(7, Fixed(8)),  // session_id, session_epoch
            // topics
            all(Array(&Struct(&[
                until(12, Text),      // topic
                since(13, Fixed(16)), // topic_id
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(4)),                 // partition
                    since(9, Fixed(4)),            // current_leader_epoch
                    all(Fixed(8)),                 // fetch_offset
                    since(12, Fixed(4)),           // last_fetched_epoch
                    since(5, Fixed(8)),            // log_start_offset
                    all(Fixed(4)),                 // partition_max_bytes
                    since(17, Tag(0, &Fixed(16))), // replica_directory_id
                    since(18, Tag(1, &Fixed(8))),  // high_watermark
                ]))),
            ]))),
            // forgotten_topics_data
            since(
                7,
                Array(&Struct(&[
                    until(12, Text),       // topic
                    since(13, Fixed(16)),  // topic_id
                    all(Array(&Fixed(4))), // partitions
                ])),
            ),
            since(11, Text),          // rack_id
            since(12, Tag(0, &Text)), // cluster_id
            // replica_state
            since(
                15,
                Tag(
                    1,
                    &Struct(&[
                        all(Fixed(12)), // replica_id, replica_epoch
                    ]),
                ),
            ),
        ],
    );
    const RESPONSE: Layout = body(
        12,
        &[
            all(Fixed(4)),      // throttle_time_ms
            since(7, Fixed(6)), // error_code, session_id
            // responses
            all(Array(&Struct(&[
                until(12, Text),      // topic
                since(13, Fixed(16)), // topic_id
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(22)),     // partition_index, error_code, high_watermark, last_stable_offset
                    since(5, Fixed(8)), // log_start_offset
                    // aborted_transactions
                    all(Array(&Struct(&[
                        all(Fixed(16)), // producer_id, first_offset
                    ]))),
                    since(11, Fixed(4)), // preferred_read_replica
                    all(Bytes),          // records
                    // diverging_epoch
                    since(
                        12,
                        Tag(
                            0,
                            &Struct(&[
                                all(Fixed(12)), // epoch, end_offset
                            ]),
                        ),
                    ),
                    // current_leader
                    since(
                        12,
                        Tag(
                            1,
                            &Struct(&[
                                all(Fixed(8)), // leader_id, leader_epoch
                            ]),
                        ),
                    ),
                    // snapshot_id
                    since(
                        12,
                        Tag(
                            2,
                            &Struct(&[
                                all(Fixed(12)), // end_offset, epoch
                            ]),
                        ),
                    ),
                ]))),
            ]))),
            // node_endpoints
            since(
                16,
                Tag(
                    0,
                    &Array(&Struct(&[
                        all(Fixed(4)), // node_id
                        all(Text),     // host
                        all(Fixed(4)), // port
                        all(Text),     // rack
                    ])),
                ),
            ),
        ],
    );
}

impl WireLayout for m::ListOffsetsRequest {
    const REQUEST: Layout = body(
        6,
        &[
            all(Fixed(4)),      // replica_id
            since(2, Fixed(1)), // isolation_level
            // topics
            all(Array(&Struct(&[
                all(Text), // name
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(4)),      // partition_index
                    since(4, Fixed(4)), // current_leader_epoch
                    all(Fixed(8)),      // timestamp
                ]))),
            ]))),
            since(10, Fixed(4)), // timeout_ms
        ],
    );
    const RESPONSE: Layout = body(
        6,
        &[
            since(2, Fixed(4)), // throttle_time_ms
            // topics
            all(Array(&Struct(&[
                all(Text), // name
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(22)),     // partition_index, error_code, timestamp, offset
                    since(4, Fixed(4)), // leader_epoch
                ]))),
            ]))),
        ],
    );
}

impl WireLayout for m::OffsetForLeaderEpochRequest {
    const REQUEST: Layout = body(
        4,
        &[
            since(3, Fixed(4)), // replica_id
            // topics
            all(Array(&Struct(&[
                all(Text), // topic
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(12)), // partition, current_leader_epoch, leader_epoch
                ]))),
            ]))),
        ],
    );
    const RESPONSE: Layout = body(
        4,
        &[
            all(Fixed(4)), // throttle_time_ms
            // topics
            all(Array(&Struct(&[
                all(Text), // topic
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(18)), // error_code, partition, leader_epoch, end_offset
                ]))),
            ]))),
        ],
    );
}

impl WireLayout for m::DeleteRecordsRequest {
    const REQUEST: Layout = body(
        2,
        &[
            // topics
            all(Array(&Struct(&[
                all(Text), // name
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(12)), // partition_index, offset
                ]))),
            ]))),
            all(Fixed(4)), // timeout_ms
        ],
    );
    const RESPONSE: Layout = body(
        2,
        &[
            all(Fixed(4)), // throttle_time_ms
            // topics
            all(Array(&Struct(&[
                all(Text), // name
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(14)), // partition_index, low_watermark, error_code
                ]))),
            ]))),
        ],
    );
}

impl WireLayout for m::InitProducerIdRequest {
    const REQUEST: Layout = body(
        2,
        &[
            all(Text),           // transactional_id
            all(Fixed(4)),       // transaction_timeout_ms
            since(3, Fixed(10)), // producer_id, producer_epoch
        ],
    );
    const RESPONSE: Layout = body(
        2,
        &[
            all(Fixed(16)), // throttle_time_ms, error_code, producer_id, producer_epoch
        ],
    );
}
