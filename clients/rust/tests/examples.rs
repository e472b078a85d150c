//! The examples of models run, and what they say of themselves holds.

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
}
