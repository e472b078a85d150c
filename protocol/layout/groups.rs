//! Groups and their offsets: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch, OffsetDelete, ListGroups, DescribeGroups, DeleteGroups.
//!
//! Source: the message definitions of Apache Kafka (`clients/src/main/resources/common/message`).

use kafka_protocol::messages as m;

use super::Kind::{Array, Bytes, Fixed, Struct, Text};
use super::{Layout, NEVER, WireLayout, all, between, body, since, until};

impl WireLayout for m::FindCoordinatorRequest {
    const REQUEST: Layout = body(
        3,
        &[
            until(3, Text),         // key
            since(1, Fixed(1)),     // key_type
            since(4, Array(&Text)), // coordinator_keys
        ],
    );
    const RESPONSE: Layout = body(
        3,
        &[
            since(1, Fixed(4)),  // throttle_time_ms
            until(3, Fixed(2)),  // error_code
            between(1, 3, Text), // error_message
            until(3, Fixed(4)),  // node_id
            until(3, Text),      // host
            until(3, Fixed(4)),  // port
            // coordinators
            since(
                4,
                Array(&Struct(&[
                    all(Text),     // key
                    all(Fixed(4)), // node_id
                    all(Text),     // host
                    all(Fixed(6)), // port, error_code
                    all(Text),     // error_message
                ])),
            ),
        ],
    );
}

impl WireLayout for m::JoinGroupRequest {
    const REQUEST: Layout = body(
        6,
        &[
            all(Text),          // group_id
            all(Fixed(4)),      // session_timeout_ms
            since(1, Fixed(4)), // rebalance_timeout_ms
            all(Text),          // member_id
            since(5, Text),     // group_instance_id
            all(Text),          // protocol_type
            // protocols
            all(Array(&Struct(&[
                all(Text),  // name
                all(Bytes), // metadata
            ]))),
            since(8, Text), // reason
        ],
    );
    const RESPONSE: Layout = body(
        6,
        &[
            since(2, Fixed(4)), // throttle_time_ms
            all(Fixed(6)),      // error_code, generation_id
            since(7, Text),     // protocol_type
            all(Text),          // protocol_name
            all(Text),          // leader
            since(9, Fixed(1)), // skip_assignment
            all(Text),          // member_id
            // members
            all(Array(&Struct(&[
                all(Text),      // member_id
                since(5, Text), // group_instance_id
                all(Bytes),     // metadata
            ]))),
        ],
    );
}

impl WireLayout for m::SyncGroupRequest {
    const REQUEST: Layout = body(
        4,
        &[
            all(Text),      // group_id
            all(Fixed(4)),  // generation_id
            all(Text),      // member_id
            since(3, Text), // group_instance_id
            since(5, Text), // protocol_type
            since(5, Text), // protocol_name
            // assignments
            all(Array(&Struct(&[
                all(Text),  // member_id
                all(Bytes), // assignment
            ]))),
        ],
    );
    const RESPONSE: Layout = body(
        4,
        &[
            since(1, Fixed(4)), // throttle_time_ms
            all(Fixed(2)),      // error_code
            since(5, Text),     // protocol_type
            since(5, Text),     // protocol_name
            all(Bytes),         // assignment
        ],
    );
}

impl WireLayout for m::HeartbeatRequest {
    const REQUEST: Layout = body(
        4,
        &[
            all(Text),      // group_id
            all(Fixed(4)),  // generation_id
            all(Text),      // member_id
            since(3, Text), // group_instance_id
        ],
    );
    const RESPONSE: Layout = body(
        4,
        &[
            since(1, Fixed(4)), // throttle_time_ms
            all(Fixed(2)),      // error_code
        ],
    );
}

impl WireLayout for m::LeaveGroupRequest {
    const REQUEST: Layout = body(
        4,
        &[
            all(Text),      // group_id
            until(2, Text), // member_id
            // members
            since(
                3,
                Array(&Struct(&[
                    all(Text),      // member_id
                    all(Text),      // group_instance_id
                    since(5, Text), // reason
                ])),
            ),
        ],
    );
    const RESPONSE: Layout = body(
        4,
        &[
            since(1, Fixed(4)), // throttle_time_ms
            all(Fixed(2)),      // error_code
            // members
            since(
                3,
                Array(&Struct(&[
                    all(Text),     // member_id
                    all(Text),     // group_instance_id
                    all(Fixed(2)), // error_code
                ])),
            ),
        ],
    );
}

impl WireLayout for m::OffsetCommitRequest {
    const REQUEST: Layout = body(
        8,
        &[
            all(Text),          // group_id
            all(Fixed(4)),      // generation_id_or_member_epoch
            all(Text),          // member_id
            since(7, Text),     // group_instance_id
            until(4, Fixed(8)), // retention_time_ms
            // topics
            all(Array(&Struct(&[
                all(Text), // name
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(12)),     // partition_index, committed_offset
                    since(6, Fixed(4)), // committed_leader_epoch
                    all(Text),          // committed_metadata
                ]))),
            ]))),
        ],
    );
    const RESPONSE: Layout = body(
        8,
        &[
            since(3, Fixed(4)), // throttle_time_ms
            // topics
            all(Array(&Struct(&[
                all(Text), // name
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(6)), // partition_index, error_code
                ]))),
            ]))),
        ],
    );
}

impl WireLayout for m::OffsetFetchRequest {
    const REQUEST: Layout = body(
        6,
        &[
            until(7, Text), // group_id
            // topics
            until(
                7,
                Array(&Struct(&[
                    all(Text),             // name
                    all(Array(&Fixed(4))), // partition_indexes
                ])),
            ),
            // groups
            since(
                8,
                Array(&Struct(&[
                    all(Text),          // group_id
                    since(9, Text),     // member_id
                    since(9, Fixed(4)), // member_epoch
                    // topics
                    all(Array(&Struct(&[
                        all(Text),             // name
                        all(Array(&Fixed(4))), // partition_indexes
                    ]))),
                ])),
            ),
            since(7, Fixed(1)), // require_stable
        ],
    );
    const RESPONSE: Layout = body(
        6,
        &[
            since(3, Fixed(4)), // throttle_time_ms
            // topics
            until(
                7,
                Array(&Struct(&[
                    all(Text), // name
                    // partitions
                    all(Array(&Struct(&[
                        all(Fixed(12)),     // partition_index, committed_offset
                        since(5, Fixed(4)), // committed_leader_epoch
                        all(Text),          // metadata
                        all(Fixed(2)),      // error_code
                    ]))),
                ])),
            ),
            between(2, 7, Fixed(2)), // error_code
            // groups
            since(
                8,
                Array(&Struct(&[
                    all(Text), // group_id
                    // topics
                    all(Array(&Struct(&[
                        all(Text), // name
                        // partitions
                        all(Array(&Struct(&[
                            all(Fixed(16)), // partition_index, committed_offset, committed_leader_epoch
                            all(Text),      // metadata
                            all(Fixed(2)),  // error_code
                        ]))),
                    ]))),
                    all(Fixed(2)), // error_code
                ])),
            ),
        ],
    );
}

impl WireLayout for m::OffsetDeleteRequest {
    const REQUEST: Layout = body(
        NEVER,
        &[
            all(Text), // group_id
            // topics
            all(Array(&Struct(&[
                all(Text), // name
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(4)), // partition_index
                ]))),
            ]))),
        ],
    );
    const RESPONSE: Layout = body(
        NEVER,
        &[
            all(Fixed(6)), // error_code, throttle_time_ms
            // topics
            all(Array(&Struct(&[
                all(Text), // name
                // partitions
                all(Array(&Struct(&[
                    all(Fixed(6)), // partition_index, error_code
                ]))),
            ]))),
        ],
    );
}

impl WireLayout for m::ListGroupsRequest {
    const REQUEST: Layout = body(
        3,
        &[
            since(4, Array(&Text)), // states_filter
            since(5, Array(&Text)), // types_filter
        ],
    );
    const RESPONSE: Layout = body(
        3,
        &[
            since(1, Fixed(4)), // throttle_time_ms
            all(Fixed(2)),      // error_code
            // groups
            all(Array(&Struct(&[
                all(Text),      // group_id
                all(Text),      // protocol_type
                since(4, Text), // group_state
                since(5, Text), // group_type
            ]))),
        ],
    );
}

impl WireLayout for m::DescribeGroupsRequest {
    const REQUEST: Layout = body(
        5,
        &[
            all(Array(&Text)),  // groups
            since(3, Fixed(1)), // include_authorized_operations
        ],
    );
    const RESPONSE: Layout = body(
        5,
        &[
            since(1, Fixed(4)), // throttle_time_ms
            // groups
            all(Array(&Struct(&[
                all(Fixed(2)),  // error_code
                since(6, Text), // error_message
                all(Text),      // group_id
                all(Text),      // group_state
                all(Text),      // protocol_type
                all(Text),      // protocol_data
                // members
                all(Array(&Struct(&[
                    all(Text),      // member_id
                    since(4, Text), // group_instance_id
                    all(Text),      // client_id
                    all(Text),      // client_host
                    all(Bytes),     // member_metadata
                    all(Bytes),     // member_assignment
                ]))),
                since(3, Fixed(4)), // authorized_operations
            ]))),
        ],
    );
}

impl WireLayout for m::DeleteGroupsRequest {
    const REQUEST: Layout = body(
        2,
        &[
            all(Array(&Text)), // groups_names
        ],
    );
    const RESPONSE: Layout = body(
        2,
        &[
            all(Fixed(4)), // throttle_time_ms
            // results
            all(Array(&Struct(&[
                all(Text),     // group_id
                all(Fixed(2)), // error_code
            ]))),
        ],
    );
}
