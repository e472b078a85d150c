//! What only a constant can tell: what another model lists, and what type the end of a path has.

use serde::{Deserialize, Serialize};
use tidegate_model::Model;

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "authors")]
struct Author {
    id: i64,
}

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "books")]
struct Book {
    id: i64,
    #[model(references = Author)] //~ field `author_id` of table `books` references table `authors`, whose model does not list it
    author_id: i64,
}

#[derive(Serialize, Deserialize, Model)]
#[model(crate = tidegate_model, table = "shelves")]
struct Shelf {
    id: i64,
    #[model(index, ignore_case)]
    height: i64, //~ field `height` has no case to ignore: only text has
}
