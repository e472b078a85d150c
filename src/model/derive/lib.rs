//! `#[derive(Model)]`: a model's definition from a struct and its attributes.
//!
//! What it is: [`definition`] reads the attributes, [`expand`] writes the implementation of the trait. The attributes are
//! described at the derive itself.
//!
//! What it refuses to do: it guesses nothing. What is misspelt, missing or contradictory is an error that names the field
//! and stands at its place in the source.

mod definition;
mod expand;
mod path;

use proc_macro::TokenStream;

/// Implements `Model` for a struct with named fields.
///
/// Of the struct, in any number of `#[model(…)]`:
///
/// | attribute | meaning |
/// | --- | --- |
/// | `table = "users"` | the table, and the topic of its events; it must be there |
/// | `index(name = "by_x", fields = [a, b])` | an index; a field is `a`, `a.b`, `a?.b` through an `Option`, `a[].b` through a `Vec`, each also as `ignore_case(a)` or `bytes(a)`: bytes of an `Option` are `bytes(a?)`, those of each element of a `Vec` `bytes(a[])` |
/// | `index(…, unique)` | no two rows may have the same values |
/// | `index(…, when = \|row\| row.is_open)` | only rows for which this holds are in it |
/// | `events(insert = "type", update = "type", delete = "type")` | which events writes announce; also `topic = "name"`, and `images` for the model before and after |
/// | `events = function` | the same by a `fn(&Self, Write) -> Vec<NewEvent>` |
/// | `upgrades(first, second)` | what leads from each form of the rows to the next: `fn(serde_json::Value) -> Result<serde_json::Value, UpgradeError>` |
/// | `referenced_by(Post, Comment)` | the models with references to this one |
/// | `skip_unchanged` | writing a row as it is already is no write |
/// | `crate = path` | where the library is, if not at `::tidegate::model` |
///
/// Of a field:
///
/// | attribute | meaning |
/// | --- | --- |
/// | `id` | it is the id; without this, the field `id` is |
/// | `index`, `unique` | an index `by_{field}` over it; with `ignore_case` by lower case |
/// | `references = User` | it holds ids of users that must be there; `on_delete = restrict` (unless said otherwise), `cascade` or `set_null` |
/// | `relationship = tag_ids` | a `Vec` or `Option` of models that takes the rows that the field `tag_ids` names; it is not stored |
/// | `created_at`, `updated_at` | the time of the first and of the last write, set by it |
///
/// A struct with relationships or times is `Clone`.
#[proc_macro_derive(Model, attributes(model))]
pub fn derive_model(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    implement(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn implement(input: &syn::DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    Ok(expand::expand(&definition::Definition::read(input)?))
}

#[cfg(test)]
mod derive_tests;
