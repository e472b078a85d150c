//! The examples run, and what they say of themselves holds.

macro_rules! examples {
    ($($(#[$path:meta])* $name:ident: $promise:ident;)*) => { $(
        #[expect(dead_code, reason = "an example begins with its own main")]
        $(#[$path])*
        mod $name;

        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() -> Result<(), Box<dyn std::error::Error>> {
            $name::run().await
        }
    )* };
}

examples! {
    #[path = "../examples/models.rs"]
    models: a_model_is_written_found_changed_and_deleted;
    #[path = "../examples/indexes.rs"]
    indexes: indexes_answer_what_they_are_asked;
    #[path = "../examples/relationships.rs"]
    relationships: models_name_one_another;
    #[path = "../examples/transactions.rs"]
    transactions: a_transaction_is_all_or_none;
    #[path = "../examples/events.rs"]
    events: events_are_announced_held_and_cancelled;
    #[path = "../examples/schema.rs"]
    schema: a_model_changes_its_form;
    #[path = "../examples/own_keys.rs"]
    own_keys: keys_of_the_applications_own_are_read_and_removed_in_order;
    #[path = "../examples/three_ways.rs"]
    three_ways: one_application_reaches_its_store_in_process_and_through_a_port;
    #[path = "../examples/worker.rs"]
    worker: events_are_handled_later_again_or_never_and_sent_back;
    #[path = "../examples/batches.rs"]
    batches: batches_are_added_up_in_order_on_fixed_partitions;
    #[path = "../examples/schedules.rs"]
    schedules: records_are_held_moved_and_cancelled_by_name;
    #[path = "../examples/administration.rs"]
    administration: topics_groups_and_offsets_are_administered;
}
