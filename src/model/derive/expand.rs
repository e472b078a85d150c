//! The implementation of the trait, from a definition.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Ident, LitStr, Path};

use crate::definition::{Definition, Events, IndexDefinition, IndexedField, OnDelete};
use crate::path::here;

pub(crate) fn expand(model: &Definition) -> TokenStream {
    let Definition { name, library, table, id, upgrades, skips_unchanged, .. } = model;
    let has_times = model.created_at.is_some() || model.updated_at.is_some();
    let id = quote_spanned!(here(id.span())=> #library::ToModelId::to_model_id(&self.#id));
    let (indexes, references, relationships) = (indexes(model), references(model), relationships(model));
    let (events, stored, children) = (events(model), stored(model), children(model));
    quote! {
        #[automatically_derived]
        impl #library::Model for #name {
            const TABLE: &'static str = #table;
            const UPGRADES: &'static [#library::Upgrade] = &[#(#upgrades),*];
            const SKIPS_UNCHANGED: bool = #skips_unchanged;
            const TIMES: bool = #has_times;

            fn id(&self) -> #library::ModelId {
                #id
            }

            #indexes
            #references
            #relationships
            #events
            #stored
            #children
        }
    }
}

fn indexes(model: &Definition) -> TokenStream {
    let Definition { name, library, .. } = model;
    let indexes = model.indexes.iter().map(|index| index_of(model, index));
    quote! {
        fn indexes() -> &'static [#library::Index<Self>] {
            const INDEXES: &[#library::Index<#name>] = &[#(#indexes),*];
            INDEXES
        }
    }
}

fn index_of(model: &Definition, index: &IndexDefinition) -> TokenStream {
    let Definition { name, library, .. } = model;
    let index_name = &index.name;
    let fields = index.fields.iter().map(|field| field_of(model, field));
    let condition = index.condition.as_ref().map(|condition| quote!(.when(#condition)));
    let unique = index.is_unique.then(|| quote!(.unique()));
    quote!(#library::Index::<#name>::new(#index_name, &[#(#fields),*])#condition #unique)
}

fn field_of(model: &Definition, field: &IndexedField) -> TokenStream {
    let name = &model.name;
    let span = here(field.path.first().span());
    // What the compiler says of any part of it is said at the field.
    let library = at(&model.library, span);
    let row = Ident::new("row", span);
    let text = LitStr::new(&field.path.text(), span);
    if field.is_bytes {
        let put = field
            .path
            .visit(&row, |value| quote_spanned!(span=> #library::derived::put_bytes(#value, values);));
        return quote_spanned! {span=>
            #library::Field::<#name>::each(#text, #library::FieldType::Bytes, |row, values| { #put })
        };
    }
    let place = field.path.place(&row);
    let put =
        field.path.visit(&row, |value| quote_spanned!(span=> #library::IndexField::put(#value, values);));
    let field_type = quote_spanned! {span=>
        #library::derived::field_type_of(|row: &#name| ::core::option::Option::Some(&#place))
    };
    let ignore_case = field.ignores_case.then(|| quote_spanned!(span=> .ignore_case()));
    quote_spanned! {span=>
        #library::Field::<#name>::each(#text, #field_type, |row, values| { #put })#ignore_case
    }
}

/// A path that means what it means, at another place.
fn at(path: &Path, span: Span) -> TokenStream {
    let moved = path.to_token_stream().into_iter().map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
}

fn references(model: &Definition) -> TokenStream {
    let Definition { name, library, .. } = model;
    let references = model.references.iter().map(|reference| {
        let (field, parent) = (&reference.field, &reference.parent);
        let text = field.unraw().to_string();
        let ids = quote_spanned!(here(field.span())=> |row| #library::derived::ids_in(&row.#field));
        let span = parent.span();
        match reference.on_delete {
            OnDelete::Restrict => {
                quote_spanned!(here(span)=> #library::Reference::<#name>::restrict::<#parent>(#text, #ids))
            }
            OnDelete::Cascade => {
                quote_spanned!(here(span)=> #library::Reference::<#name>::cascade::<#parent>(#text, #ids))
            }
            OnDelete::SetNull => {
                let forget =
                    quote_spanned!(here(field.span())=> |row, id| #library::derived::forget_in(&mut row.#field, id));
                quote_spanned!(here(span)=> #library::Reference::<#name>::set_null::<#parent>(#text, #ids, #forget))
            }
        }
    });
    quote! {
        fn references() -> &'static [#library::Reference<Self>] {
            const REFERENCES: &[#library::Reference<#name>] = &[#(#references),*];
            REFERENCES
        }
    }
}

fn relationships(model: &Definition) -> TokenStream {
    let Definition { name, library, .. } = model;
    let relationships = model.relationships.iter().map(|relationship| {
        let (field, field_type, ids) = (&relationship.field, &relationship.field_type, &relationship.ids);
        let text = field.unraw().to_string();
        let ids = quote_spanned!(here(ids.span())=> |row: &#name| #library::derived::ids_in(&row.#ids));
        quote_spanned! {here(field.span())=>
            #library::Relationship::<#name>::new(#text, |models, nested, rows| {
                #library::fill::<#name, #field_type>(models, nested, rows, #ids, |row: &mut #name, related| {
                    row.#field = related;
                })
            })
        }
    });
    quote! {
        fn relationships() -> &'static [#library::Relationship<Self>] {
            const RELATIONSHIPS: &[#library::Relationship<#name>] = &[#(#relationships),*];
            RELATIONSHIPS
        }
    }
}

fn events(model: &Definition) -> TokenStream {
    let library = &model.library;
    let body = match &model.events {
        None => return TokenStream::new(),
        Some(Events::Function(function)) => quote!(#function(self, write)),
        Some(Events::Types { insert, update, delete, topic, images }) => {
            let topic = topic.as_ref().map(|topic| quote!(.topic(#topic)));
            let images = images.then(|| quote!(.images()));
            let of = |event_type: &Option<LitStr>| {
                let event = event_type
                    .as_ref()
                    .map(|event_type| quote!(#library::NewEvent::new(#event_type)#topic #images));
                quote!(::std::vec::Vec::from_iter([#event]))
            };
            let empty = quote!(::std::vec::Vec::new());
            let arm = |event_type: &Option<LitStr>| {
                if event_type.is_some() { of(event_type) } else { empty.clone() }
            };
            let (insert, update, delete) = (arm(insert), arm(update), arm(delete));
            quote! {
                match write {
                    #library::Write::Insert => #insert,
                    #library::Write::Update => #update,
                    #library::Write::Delete => #delete,
                }
            }
        }
    };
    quote! {
        fn events(&self, write: #library::Write) -> ::std::vec::Vec<#library::NewEvent> {
            #body
        }
    }
}

fn stored(model: &Definition) -> TokenStream {
    let Definition { name, library, created_at, updated_at, relationships, .. } = model;
    if relationships.is_empty() && created_at.is_none() && updated_at.is_none() {
        return TokenStream::new();
    }
    let emptied = relationships.iter().map(|relationship| {
        let field = &relationship.field;
        quote_spanned!(here(field.span())=> row.#field = ::core::default::Default::default();)
    });
    let created = created_at.as_ref().map(|field| {
        quote_spanned! {here(field.span())=>
            match stamp.before {
                ::core::option::Option::Some(before) => row.#field = ::core::clone::Clone::clone(&before.#field),
                ::core::option::Option::None => #library::derived::set_time(&mut row.#field, stamp.now_ms),
            }
        }
    });
    let updated = updated_at.as_ref().map(|field| {
        quote_spanned! {here(field.span())=>
            match stamp.before {
                ::core::option::Option::Some(before) if stamp.is_trial => {
                    row.#field = ::core::clone::Clone::clone(&before.#field);
                }
                _ => #library::derived::set_time(&mut row.#field, stamp.now_ms),
            }
        }
    });
    let clone = quote_spanned!(here(name.span())=> <Self as ::core::clone::Clone>::clone(self));
    quote! {
        fn stored(&self, stamp: &#library::Stamp<'_, Self>) -> ::core::option::Option<Self> {
            let mut row = #clone;
            #(#emptied)*
            #created
            #updated
            ::core::option::Option::Some(row)
        }
    }
}

fn children(model: &Definition) -> TokenStream {
    let Definition { library, children, .. } = model;
    if children.is_empty() {
        return TokenStream::new();
    }
    quote! {
        const CHILDREN: &'static [&'static str] = &[#(<#children as #library::Model>::TABLE),*];

        fn named_by() -> ::std::vec::Vec<#library::ChildReference> {
            let mut children = ::std::vec::Vec::new();
            #(children.extend(#library::derived::references_to::<#children>(<Self as #library::Model>::TABLE));)*
            children
        }

        fn release<S: #library::Store>(
            release: #library::Release<'_, S>,
        ) -> #library::BoxFuture<'_, ::core::result::Result<(), #library::Error>> {
            #(
                if release.table() == <#children as #library::Model>::TABLE {
                    return release.of::<#children>();
                }
            )*
            release.refuse()
        }
    }
}
