//! Models that are as they should be: the counterpart of those beside this file.

use serde::{Deserialize, Serialize};
use tidegate_model::{Model, TimeMs};

#[derive(Clone, Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "houses", referenced_by(Room))]
#[model(index(name = "by_seal", fields = [bytes(seal?)]))]
#[model(index(name = "by_mark", fields = [bytes(marks[])]))]
struct House {
    id: i64,
    #[model(index, ignore_case)]
    city: Option<String>,
    seal: Option<Vec<u8>>,
    marks: Vec<Vec<u8>>,
    #[model(created_at)]
    built_at: TimeMs,
}

#[derive(Clone, Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "rooms")]
struct Room {
    id: String,
    #[model(references = House, on_delete = set_null)]
    house: Option<i64>,
    #[model(relationship = house)]
    in_house: Option<House>,
}
