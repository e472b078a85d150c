//! The way to an indexed field: `a.b`, through an `Option` by `a?.b`, through a `Vec` by `a[].b`. At its end `?` and `[]`
//! say that it is what is within: `bytes(a?)` are the bytes of an `Option`, `bytes(a[])` those of each element.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::{Ident, Token};

/// How a step leads to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Through {
    Field,
    Option,
    Each,
}

struct Step {
    name: Ident,
    through: Through,
}

/// A path from the struct to a field.
pub(crate) struct FieldPath {
    steps: Vec<Step>,
}

impl Parse for FieldPath {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut steps = vec![];
        loop {
            let name: Ident = input.parse()?;
            let through = if input.peek(Token![?]) {
                input.parse::<Token![?]>()?;
                Through::Option
            } else if input.peek(syn::token::Bracket) {
                let inside;
                syn::bracketed!(inside in input);
                if !inside.is_empty() {
                    return Err(inside.error("an index is over all elements: write `[]`"));
                }
                Through::Each
            } else {
                Through::Field
            };
            steps.push(Step { name, through });
            if !input.peek(Token![.]) {
                return Ok(Self { steps });
            }
            input.parse::<Token![.]>()?;
        }
    }
}

impl FieldPath {
    /// A field of the struct itself.
    pub(crate) fn of(name: Ident) -> Self {
        Self { steps: vec![Step { name, through: Through::Field }] }
    }

    /// The field of the struct that it begins with.
    pub(crate) fn first(&self) -> &Ident {
        &self.steps[0].name
    }

    fn last(&self) -> &Step {
        self.steps.last().expect("a path has a step")
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        let text = |step: &Step| match step.through {
            Through::Field => step.name.to_string(),
            Through::Option => format!("{}?", step.name),
            Through::Each => format!("{}[]", step.name),
        };
        self.steps.iter().map(text).collect::<Vec<_>>().join(".")
    }

    /// An expression that is a reference to the field, within a function that returns an option.
    pub(crate) fn place(&self, model: &Ident) -> TokenStream {
        let mut at = quote!(#model);
        let mut through = Through::Field;
        for step in &self.steps {
            let name = &step.name;
            at = match through {
                Through::Field => quote_spanned!(here(name.span())=> #at.#name),
                Through::Option => quote_spanned!(here(name.span())=> #at.as_ref()?.#name),
                Through::Each => quote_spanned!(here(name.span())=> #at.iter().next()?.#name),
            };
            through = step.through;
        }
        let span = here(self.last().name.span());
        match through {
            Through::Field => at,
            Through::Option => quote_spanned!(span=> (*#at.as_ref()?)),
            Through::Each => quote_spanned!(span=> (*#at.iter().next()?)),
        }
    }

    /// A statement that does `with` with a reference to each value that the path leads to.
    pub(crate) fn visit(&self, model: &Ident, with: impl FnOnce(TokenStream) -> TokenStream) -> TokenStream {
        let mut at = quote!(#model);
        let mut wraps = vec![];
        for (depth, step) in self.steps.iter().enumerate() {
            let name = &step.name;
            at = quote_spanned!(here(name.span())=> #at.#name);
            if step.through != Through::Field {
                let inner = format_ident!("inner{depth}", span = here(name.span()));
                wraps.push((step.through, at, inner.clone()));
                at = quote!(#inner);
            }
        }
        // What is within something else is a reference already.
        let is_within = self.last().through != Through::Field;
        let value = if is_within { at } else { quote_spanned!(here(self.last().name.span())=> &#at) };
        let mut statement = with(value);
        for (through, outer, inner) in wraps.into_iter().rev() {
            statement = match through {
                Through::Option => {
                    quote!(if let ::core::option::Option::Some(#inner) = &#outer { #statement })
                }
                Through::Each | Through::Field => quote!(for #inner in &#outer { #statement }),
            };
        }
        statement
    }
}

/// For errors at `span`, and with the names of the code around: a struct that another macro writes has spans of its own
/// kind, and what the derive names there would not be what it names elsewhere.
pub(crate) fn here(span: Span) -> Span {
    span.resolved_at(Span::call_site())
}
