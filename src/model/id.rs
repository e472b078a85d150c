//! What an id, or a field that holds ids of other models, may be.

use std::collections::{BTreeSet, HashSet};

use tidegate_format::ModelId;
use uuid::Uuid;

/// A type that is the id of a model: text, a UUID or a number that fits 64 bits with a sign.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the id of a model",
    label = "not an id",
    note = "ids are `String`, `Uuid`, `i64` and smaller integers"
)]
pub trait ToModelId {
    /// The id.
    fn to_model_id(&self) -> ModelId;
}

/// A field that names other models: an id, an optional one, or several.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not hold ids of models",
    label = "not an id, an `Option` of one or a `Vec` of them",
    note = "ids are `String`, `Uuid`, `i64` and smaller integers"
)]
pub trait ToModelIds {
    /// The ids, in their order.
    fn to_model_ids(&self) -> Vec<ModelId>;
}

/// A field of ids that can lose one of them, for references that are set to null when what they name is deleted.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lose an id",
    label = "neither an `Option` nor a `Vec` of ids",
    note = "`on_delete = set_null` needs a field that can be without what it named"
)]
pub trait ForgetModelId {
    /// Takes every occurrence of the id away.
    fn forget_model_id(&mut self, id: &ModelId);
}

macro_rules! ids {
    ($($type:ty: $id:ident => $model_id:expr;)*) => { $(
        impl ToModelId for $type {
            fn to_model_id(&self) -> ModelId {
                let $id = self;
                $model_id
            }
        }

        impl ToModelIds for $type {
            fn to_model_ids(&self) -> Vec<ModelId> {
                vec![self.to_model_id()]
            }
        }
    )* };
}

ids! {
    ModelId: id => id.clone();
    String: id => ModelId::String(id.clone());
    Uuid: id => ModelId::Uuid(*id);
    i64: id => ModelId::Integer(*id);
    i32: id => ModelId::Integer((*id).into());
    i16: id => ModelId::Integer((*id).into());
    i8: id => ModelId::Integer((*id).into());
    u32: id => ModelId::Integer((*id).into());
    u16: id => ModelId::Integer((*id).into());
    u8: id => ModelId::Integer((*id).into());
}

impl ToModelId for str {
    fn to_model_id(&self) -> ModelId {
        self.into()
    }
}

impl<T: ToModelId + ?Sized> ToModelId for &T {
    fn to_model_id(&self) -> ModelId {
        (**self).to_model_id()
    }
}

macro_rules! collections_of_ids {
    ($($collection:ident),*) => { $(
        impl<T: ToModelId> ToModelIds for $collection<T> {
            fn to_model_ids(&self) -> Vec<ModelId> {
                self.iter().map(ToModelId::to_model_id).collect()
            }
        }
    )* };
}

collections_of_ids!(Option, Vec, BTreeSet, HashSet);

impl<T: ToModelId> ForgetModelId for Option<T> {
    fn forget_model_id(&mut self, id: &ModelId) {
        self.take_if(|held| held.to_model_id() == *id);
    }
}

impl<T: ToModelId> ForgetModelId for Vec<T> {
    fn forget_model_id(&mut self, id: &ModelId) {
        self.retain(|held| held.to_model_id() != *id);
    }
}
