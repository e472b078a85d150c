//! What the attributes of a struct say.

use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Data, DeriveInput, Expr, Field, Fields, Ident, LitStr, Path, Token, Type};

use crate::path::FieldPath;

/// A model as its attributes define it.
pub(crate) struct Definition {
    pub(crate) name: Ident,
    pub(crate) library: Path,
    pub(crate) table: LitStr,
    pub(crate) id: Ident,
    pub(crate) indexes: Vec<IndexDefinition>,
    pub(crate) events: Option<Events>,
    pub(crate) upgrades: Vec<Path>,
    pub(crate) children: Vec<Type>,
    pub(crate) skips_unchanged: bool,
    pub(crate) references: Vec<ReferenceDefinition>,
    pub(crate) relationships: Vec<RelationshipDefinition>,
    pub(crate) created_at: Option<Ident>,
    pub(crate) updated_at: Option<Ident>,
}

pub(crate) struct IndexDefinition {
    pub(crate) name: LitStr,
    pub(crate) fields: Vec<IndexedField>,
    pub(crate) is_unique: bool,
    pub(crate) condition: Option<Expr>,
}

pub(crate) struct IndexedField {
    pub(crate) path: FieldPath,
    pub(crate) ignores_case: bool,
    pub(crate) is_bytes: bool,
}

pub(crate) enum Events {
    Function(Path),
    Types {
        insert: Option<LitStr>,
        update: Option<LitStr>,
        delete: Option<LitStr>,
        topic: Option<LitStr>,
        images: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDelete {
    Restrict,
    Cascade,
    SetNull,
}

pub(crate) struct ReferenceDefinition {
    pub(crate) field: Ident,
    pub(crate) parent: Type,
    pub(crate) on_delete: OnDelete,
}

pub(crate) struct RelationshipDefinition {
    pub(crate) field: Ident,
    pub(crate) field_type: Type,
    pub(crate) ids: Ident,
}

impl Definition {
    pub(crate) fn read(input: &DeriveInput) -> syn::Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(syn::Error::new_spanned(&input.ident, "a model is a struct with named fields"));
        };
        let Fields::Named(fields) = &data.fields else {
            return Err(syn::Error::new_spanned(&input.ident, "a model is a struct with named fields"));
        };
        if !input.generics.params.is_empty() {
            return Err(syn::Error::new_spanned(
                &input.generics,
                "a model has no type parameters: each table has one type",
            ));
        }
        let mut found = Found::default();
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("model")) {
            attribute.parse_nested_meta(|meta| found.read_of_struct(&meta))?;
        }
        for field in &fields.named {
            found.read_field(field)?;
        }
        found.complete(input, &fields.named)
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    library: Option<Path>,
    table: Option<LitStr>,
    id: Option<Ident>,
    indexes: Vec<IndexDefinition>,
    events: Option<Events>,
    upgrades: Option<Vec<Path>>,
    children: Vec<Type>,
    skips_unchanged: bool,
    references: Vec<ReferenceDefinition>,
    relationships: Vec<RelationshipDefinition>,
    created_at: Option<Ident>,
    updated_at: Option<Ident>,
}

impl Found {
    fn read_of_struct(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let name = meta.path.get_ident().map(Ident::unraw).map(|name| name.to_string()).unwrap_or_default();
        match name.as_str() {
            "crate" => once(&mut self.library, meta.value()?.parse()?, meta)?,
            "table" => {
                let table: LitStr = meta.value()?.parse()?;
                check_name("a table", &table)?;
                once(&mut self.table, table, meta)?;
            }
            "index" => self.indexes.push(read_index(meta)?),
            "events" => once(&mut self.events, read_events(meta)?, meta)?,
            "upgrades" => once(&mut self.upgrades, list::<Path>(meta)?, meta)?,
            "referenced_by" => self.children.extend(list::<Type>(meta)?),
            "skip_unchanged" => self.skips_unchanged = true,
            _ => {
                return Err(meta.error(
                    "a struct's attributes are table, index, events, upgrades, referenced_by, skip_unchanged and crate",
                ));
            }
        }
        Ok(())
    }

    fn read_field(&mut self, field: &Field) -> syn::Result<()> {
        let name = field.ident.clone().expect("the fields have names");
        let (mut is_indexed, mut is_unique, mut ignores_case) = (false, false, false);
        let (mut parent, mut on_delete, mut related) = (None, None, None);
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("model")) {
            attribute.parse_nested_meta(|meta| {
                let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                match word.as_str() {
                    "id" => once(&mut self.id, name.clone(), &meta)?,
                    "index" => is_indexed = true,
                    "unique" => is_unique = true,
                    "ignore_case" => ignores_case = true,
                    "created_at" => once(&mut self.created_at, name.clone(), &meta)?,
                    "updated_at" => once(&mut self.updated_at, name.clone(), &meta)?,
                    "references" => once(&mut parent, meta.value()?.parse::<Type>()?, &meta)?,
                    "on_delete" => once(&mut on_delete, read_on_delete(&meta)?, &meta)?,
                    "relationship" => {
                        let ids = meta.value()?.parse()?;
                        let (field, field_type) = (name.clone(), field.ty.clone());
                        once(&mut related, RelationshipDefinition { field, field_type, ids }, &meta)?;
                    }
                    _ => {
                        return Err(meta.error(format!(
                            "field `{name}`: a field's attributes are id, index, unique, ignore_case, references, \
                             on_delete, relationship, created_at and updated_at"
                        )));
                    }
                }
                Ok(())
            })?;
        }
        self.relationships.extend(related);
        let refuse = |message: &str| Err(syn::Error::new(name.span(), format!("field `{name}`: {message}")));
        if ignores_case && !is_indexed && !is_unique {
            return refuse("ignore_case is of an index: add `index` or `unique`");
        }
        if is_indexed || is_unique {
            let index = LitStr::new(&format!("by_{}", name.unraw()), name.span());
            let field = IndexedField { path: FieldPath::of(name.clone()), ignores_case, is_bytes: false };
            self.indexes.push(IndexDefinition {
                name: index,
                fields: vec![field],
                is_unique,
                condition: None,
            });
        }
        match (parent, on_delete) {
            (Some(parent), on_delete) => {
                let on_delete = on_delete.unwrap_or(OnDelete::Restrict);
                self.references.push(ReferenceDefinition { field: name, parent, on_delete });
                Ok(())
            }
            (None, Some(_)) => refuse("on_delete is of a reference: add `references = TheOtherModel`"),
            (None, None) => Ok(()),
        }
    }

    fn complete(self, input: &DeriveInput, fields: &Punctuated<Field, Token![,]>) -> syn::Result<Definition> {
        let names: Vec<&Ident> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
        let known = || names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let check_field = |what: &str, field: &Ident| {
            if names.contains(&field) {
                return Ok(());
            }
            let message = format!("{what}: `{}` has no field `{field}`; it has {}", input.ident, known());
            Err(syn::Error::new(field.span(), message))
        };
        let Some(table) = self.table else {
            let message = "a model needs a table: #[model(table = \"…\")]";
            return Err(syn::Error::new_spanned(&input.ident, message));
        };
        let id = self.id.or_else(|| names.iter().find(|name| **name == "id").map(|name| (*name).clone()));
        let Some(id) = id else {
            let message = "a model needs an id: a field `id`, or one with #[model(id)]";
            return Err(syn::Error::new_spanned(&input.ident, message));
        };
        for (at, index) in self.indexes.iter().enumerate() {
            let name = index.name.value();
            if self.indexes[..at].iter().any(|other| other.name.value() == name) {
                return Err(syn::Error::new(index.name.span(), format!("there are two indexes `{name}`")));
            }
            for field in &index.fields {
                check_field(&format!("index `{name}`"), field.path.first())?;
            }
        }
        for relationship in &self.relationships {
            check_field(&format!("relationship `{}`", relationship.field), &relationship.ids)?;
        }
        let library = self.library.unwrap_or_else(|| syn::parse_quote!(::tidegate::model));
        Ok(Definition {
            name: input.ident.clone(),
            library,
            table,
            id,
            indexes: self.indexes,
            events: self.events,
            upgrades: self.upgrades.unwrap_or_default(),
            children: self.children,
            skips_unchanged: self.skips_unchanged,
            references: self.references,
            relationships: self.relationships,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn once<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if slot.is_some() {
        let name = meta.path.get_ident().map(Ident::unraw).map(|name| name.to_string()).unwrap_or_default();
        return Err(meta.error(format!("`{name}` is there twice")));
    }
    *slot = Some(value);
    Ok(())
}

/// `(a, b, c)`, at least one.
fn list<T: Parse>(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<T>> {
    let inside;
    syn::parenthesized!(inside in meta.input);
    if inside.is_empty() {
        return Err(meta.error("the list is empty"));
    }
    Ok(Punctuated::<T, Token![,]>::parse_terminated(&inside)?.into_iter().collect())
}

/// The rule of `check_table_name` in tidegate-format.
fn check_name(what: &str, name: &LitStr) -> syn::Result<()> {
    let text = name.value();
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > 128 || text == "." || text == ".." || !text.bytes().all(is_legal) {
        let message = format!("the name of {what} is 1 to 128 ASCII letters, digits, `.`, `_` and `-`");
        return Err(syn::Error::new(name.span(), message));
    }
    Ok(())
}

fn read_index(meta: &ParseNestedMeta<'_>) -> syn::Result<IndexDefinition> {
    let (mut name, mut fields, mut condition, mut is_unique) = (None, None, None, false);
    meta.parse_nested_meta(|meta| {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "name" => {
                let found: LitStr = meta.value()?.parse()?;
                check_name("an index", &found)?;
                once(&mut name, found, &meta)
            }
            "fields" => once(&mut fields, read_fields(&meta)?, &meta),
            "when" => once(&mut condition, meta.value()?.parse::<Expr>()?, &meta),
            "unique" => {
                is_unique = true;
                Ok(())
            }
            _ => Err(meta.error("an index has name, fields, when and unique")),
        }
    })?;
    let Some(name) = name else { return Err(meta.error("an index needs a name: name = \"by_…\"")) };
    let Some(fields) = fields else {
        let message = format!("index `{}` needs fields: fields = […]", name.value());
        return Err(syn::Error::new(name.span(), message));
    };
    Ok(IndexDefinition { name, fields, is_unique, condition })
}

/// `= [a, b, c]`, at least one.
fn read_fields(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<IndexedField>> {
    let value = meta.value()?;
    let inside;
    syn::bracketed!(inside in value);
    if inside.is_empty() {
        return Err(meta.error("the list is empty"));
    }
    Ok(Punctuated::<IndexedField, Token![,]>::parse_terminated(&inside)?.into_iter().collect())
}

impl Parse for IndexedField {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let is_call = input.peek(Ident) && input.peek2(syn::token::Paren);
        if !is_call {
            return Ok(Self { path: input.parse()?, ignores_case: false, is_bytes: false });
        }
        let modifier: Ident = input.parse()?;
        let inside;
        syn::parenthesized!(inside in input);
        let path: FieldPath = inside.parse()?;
        if !inside.is_empty() {
            return Err(inside.error("one field"));
        }
        let (ignores_case, is_bytes) = (modifier == "ignore_case", modifier == "bytes");
        if !ignores_case && !is_bytes {
            let message = "a field is taken as it is, or as ignore_case(field) or bytes(field)";
            return Err(syn::Error::new(modifier.span(), message));
        }
        Ok(Self { path, ignores_case, is_bytes })
    }
}

fn read_events(meta: &ParseNestedMeta<'_>) -> syn::Result<Events> {
    if meta.input.peek(Token![=]) {
        return Ok(Events::Function(meta.value()?.parse()?));
    }
    let (mut insert, mut update, mut delete, mut topic, mut images) = (None, None, None, None, false);
    meta.parse_nested_meta(|meta| {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "insert" => once(&mut insert, meta.value()?.parse()?, &meta),
            "update" => once(&mut update, meta.value()?.parse()?, &meta),
            "delete" => once(&mut delete, meta.value()?.parse()?, &meta),
            "topic" => once(&mut topic, meta.value()?.parse()?, &meta),
            "images" => {
                images = true;
                Ok(())
            }
            _ => Err(meta.error("events are of insert, update and delete, and have a topic or images")),
        }
    })?;
    Ok(Events::Types { insert, update, delete, topic, images })
}

fn read_on_delete(meta: &ParseNestedMeta<'_>) -> syn::Result<OnDelete> {
    let word: Ident = meta.value()?.parse()?;
    match word.to_string().as_str() {
        "restrict" => Ok(OnDelete::Restrict),
        "cascade" => Ok(OnDelete::Cascade),
        "set_null" => Ok(OnDelete::SetNull),
        _ => Err(syn::Error::new(word.span(), "on_delete is restrict, cascade or set_null")),
    }
}
