//! What is wrong with a definition is said by the name of the field or attribute that it is about.

use quote::quote;

use crate::implement;

fn refusal(input: proc_macro2::TokenStream) -> String {
    let input = syn::parse2(input).expect("it is Rust");
    implement(&input).map(|_| ()).expect_err("it is refused").to_string()
}

fn accept(input: proc_macro2::TokenStream) -> String {
    let input = syn::parse2(input).expect("it is Rust");
    implement(&input).expect("it is accepted").to_string()
}

#[test]
fn an_index_over_a_field_that_is_not_there_names_index_field_and_what_there_is() {
    let message = refusal(quote! {
        #[model(table = "users", index(name = "by_email", fields = [emial]))]
        struct User { id: String, email: String }
    });
    assert_eq!(message, "index `by_email`: `User` has no field `emial`; it has `id`, `email`");
}

#[test]
fn a_relationship_of_a_field_that_is_not_there_names_it() {
    let message = refusal(quote! {
        #[model(table = "posts")]
        struct Post { id: String, #[model(relationship = tag_idz)] tags: Vec<Tag> }
    });
    assert_eq!(message, "relationship `tags`: `Post` has no field `tag_idz`; it has `id`, `tags`");
}

#[test]
fn attributes_that_mean_nothing_where_they_are_name_the_field() {
    let message = refusal(quote! {
        #[model(table = "posts")]
        struct Post { id: String, #[model(on_delete = cascade)] author_id: String }
    });
    assert_eq!(message, "field `author_id`: on_delete is of a reference: add `references = TheOtherModel`");
    let message = refusal(quote! {
        #[model(table = "posts")]
        struct Post { id: String, #[model(ignore_case)] title: String }
    });
    assert_eq!(message, "field `title`: ignore_case is of an index: add `index` or `unique`");
    let message = refusal(quote! {
        #[model(table = "posts")]
        struct Post { id: String, #[model(indexed)] title: String }
    });
    assert!(message.starts_with("field `title`: a field's attributes are id, index"), "{message}");
}

#[test]
fn what_every_model_needs_is_asked_for() {
    let message = refusal(quote!(
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "a model needs a table: #[model(table = \"…\")]");
    let message = refusal(quote!(
        #[model(table = "users")]
        struct User {
            name: String,
        }
    ));
    assert_eq!(message, "a model needs an id: a field `id`, or one with #[model(id)]");
    let message = refusal(quote!(
        #[model(table = "users")]
        enum User {
            A,
        }
    ));
    assert_eq!(message, "a model is a struct with named fields");
    let message = refusal(quote!(
        #[model(table = "users")]
        struct User(String);
    ));
    assert_eq!(message, "a model is a struct with named fields");
    let message = refusal(quote!(
        #[model(table = "users")]
        struct User<T> {
            id: T,
        }
    ));
    assert_eq!(message, "a model has no type parameters: each table has one type");
}

#[test]
fn names_that_cannot_be_are_refused() {
    let message = refusal(quote!(
        #[model(table = "a/b")]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "the name of a table is 1 to 128 ASCII letters, digits, `.`, `_` and `-`");
    let message = refusal(quote! {
        #[model(table = "users", index(name = "", fields = [id]))]
        struct User { id: String }
    });
    assert_eq!(message, "the name of an index is 1 to 128 ASCII letters, digits, `.`, `_` and `-`");
}

#[test]
fn what_is_there_twice_is_refused() {
    let message = refusal(quote! {
        #[model(table = "users", index(name = "by_name", fields = [name]))]
        struct User { id: String, #[model(index)] name: String }
    });
    assert_eq!(message, "there are two indexes `by_name`");
    let message = refusal(quote! {
        #[model(table = "users")]
        struct User { #[model(id)] a: String, #[model(id)] b: String }
    });
    assert_eq!(message, "`id` is there twice");
    let message = refusal(quote!(
        #[model(table = "a", table = "b")]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "`table` is there twice");
    // In one attribute or in two.
    let message = refusal(quote! {
        #[model(table = "a", upgrades(first))]
        #[model(upgrades(second))]
        struct User { id: String }
    });
    assert_eq!(message, "`upgrades` is there twice");
    let message = refusal(quote!(
        #[model(table = "a", crate = a, crate = b)]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "`crate` is there twice");
    let message = refusal(quote! {
        #[model(table = "a")]
        struct User { id: String, #[model(relationship = id, relationship = id)] tags: Vec<Tag> }
    });
    assert_eq!(message, "`relationship` is there twice");
}

#[test]
fn an_index_without_name_or_fields_is_refused() {
    let message = refusal(quote!(
        #[model(table = "a", index(fields = [id]))]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "an index needs a name: name = \"by_…\"");
    let message = refusal(quote!(
        #[model(table = "a", index(name = "x"))]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "index `x` needs fields: fields = […]");
    let message = refusal(quote!(
        #[model(table = "a", index(name = "x", fields = []))]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "the list is empty");
    let message = refusal(quote!(
        #[model(table = "a", index(name = "x", fields = [upper(id)]))]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "a field is taken as it is, or as ignore_case(field) or bytes(field)");
    let message = refusal(quote!(
        #[model(table = "a", index(name = "x", fields = [id[3].x]))]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "an index is over all elements: write `[]`");
}

#[test]
fn words_that_are_not_known_are_answered_with_those_that_are() {
    let message = refusal(quote!(
        #[model(tabel = "a")]
        struct User {
            id: String,
        }
    ));
    assert!(message.contains("a struct's attributes are table, index, events"), "{message}");
    let message = refusal(quote! {
        #[model(table = "posts")]
        struct Post { id: String, #[model(references = User, on_delete = delete)] author_id: String }
    });
    assert_eq!(message, "on_delete is restrict, cascade or set_null");
    let message = refusal(quote!(
        #[model(table = "a", events(created = "x"))]
        struct User {
            id: String,
        }
    ));
    assert_eq!(message, "events are of insert, update and delete, and have a topic or images");
}

#[test]
fn paths_lead_through_options_and_vectors() {
    let code = accept(quote! {
        #[model(table = "orders", index(name = "by_sku", fields = [lines[].product?.sku, ignore_case(customer.name)]))]
        struct Order { id: i64, lines: Vec<Line>, customer: Customer }
    });
    assert!(code.contains("\"lines[].product?.sku\""), "{code}");
    assert!(code.contains("for inner0 in & row . lines"), "{code}");
    assert!(code.contains("(inner1) = & inner0 . product"), "{code}");
    assert!(code.contains("\"customer.name\""), "{code}");
    assert!(code.contains("ignore_case ()"), "{code}");
}

#[test]
fn a_path_may_end_with_what_is_within() {
    let code = accept(quote! {
        #[model(table = "orders", index(name = "by_seal", fields = [bytes(seal?), bytes(marks[]), note?]))]
        struct Order { id: i64, seal: Option<Vec<u8>>, marks: Vec<Vec<u8>>, note: Option<String> }
    });
    assert!(
        code.contains(
            "(inner0) = & row . seal { :: tidegate :: model :: derived :: put_bytes (inner0 , values) ; }"
        ),
        "{code}"
    );
    assert!(
        code.contains(
            "for inner0 in & row . marks { :: tidegate :: model :: derived :: put_bytes (inner0 , values) ; }"
        ),
        "{code}"
    );
    assert!(code.contains("put (inner0 , values)"), "{code}");
    assert!(code.contains("Some (& (* row . note . as_ref () ?))"), "{code}");
}

#[test]
fn the_library_can_be_elsewhere() {
    let code = accept(quote!(
        #[model(table = "users", crate = my::own)]
        struct User {
            id: String,
        }
    ));
    assert!(code.contains("impl my :: own :: Model for User"), "{code}");
    let code = accept(quote!(
        #[model(table = "users")]
        struct User {
            id: String,
        }
    ));
    assert!(code.contains("impl :: tidegate :: model :: Model for User"), "{code}");
}
