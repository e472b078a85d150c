//! Fields of types that cannot be what their attributes say.

use serde::{Deserialize, Serialize};
use tidegate_model::Model;

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "a")]
struct BadId {
    id: f64, //~ `f64` cannot be the id of a model
}

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "b")]
struct BadIndex {
    id: i64,
    #[model(index)]
    size: u64, //~ `u64` cannot be a field of an index
}

#[derive(Serialize, Deserialize)]
struct Place {
    floor: (i32, i32),
}

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "c")]
#[model(index(name = "by_floor", fields = [
    places[].floor, //~ `(i32, i32)` cannot be a field of an index
]))]
struct BadPath {
    id: i64,
    places: Vec<Place>,
}

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "d")]
#[model(index(name = "by_seal", fields = [
    bytes(seal), //~ Option<Vec<u8>>` cannot be taken as bytes
]))]
struct BadBytes {
    id: i64,
    seal: Option<Vec<u8>>,
}

#[derive(Clone, Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "parents", referenced_by(BadReference, BadSetNull))]
struct Parent {
    id: i64,
}

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "e")]
struct BadReference {
    id: i64,
    #[model(references = Parent)]
    parent: f64, //~ `f64` does not hold ids of models
}

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "f")]
struct BadSetNull {
    id: i64,
    #[model(references = Parent, on_delete = set_null)]
    parent: i64, //~ `i64` cannot lose an id
}

#[derive(Clone, Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "g")]
struct BadRelationship {
    id: i64,
    #[model(relationship = id)]
    parent: String, //~ String` cannot take related rows
}

#[derive(Clone, Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "h")]
struct BadTime {
    id: i64,
    #[model(updated_at)]
    changed: String, //~ String` cannot hold the time of a write
}
