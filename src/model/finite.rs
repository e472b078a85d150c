//! Finds numbers that are not finite: serde writes them as null, and they do not come back from there.

use std::fmt;

use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// The first field that is a number and not finite, with those that it is within.
pub(crate) fn find_not_finite(model: &impl Serialize) -> Option<String> {
    match model.serialize(Finder) {
        Err(NotFinite(path)) if !path.is_empty() => Some(path),
        Ok(()) | Err(_) => None,
    }
}

/// Goes through a value and stops at a number that is not finite.
struct Finder;

/// The way to it, outermost first. Empty if something else went wrong, which whoever encodes the value has met before.
#[derive(Debug)]
struct NotFinite(String);

impl NotFinite {
    fn within(self, name: &str) -> Self {
        match self.0.as_str() {
            "" => self,
            HERE => Self(name.to_owned()),
            path => Self(format!("{name}.{path}")),
        }
    }
}

/// The way to a number that has no name of its own.
const HERE: &str = "(a number)";

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFinite {}

impl ser::Error for NotFinite {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self(String::new())
    }
}

type Found = Result<(), NotFinite>;

macro_rules! finite {
    ($($method:ident: $type:ty),* $(,)?) => { $(
        fn $method(self, _value: $type) -> Found {
            Ok(())
        }
    )* };
}

impl Serializer for Finder {
    type Ok = ();
    type Error = NotFinite;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    finite! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_f32(self, value: f32) -> Found {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Found {
        if value.is_finite() { Ok(()) } else { Err(NotFinite(HERE.to_owned())) }
    }

    fn serialize_none(self) -> Found {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Found {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Found {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Found {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Found {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Found {
        value.serialize(self).map_err(|found| found.within(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotFinite> {
        Ok(self)
    }
}

macro_rules! elements {
    ($($trait:ident: $method:ident),* $(,)?) => { $(
        impl $trait for Finder {
            type Ok = ();
            type Error = NotFinite;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Found {
                value.serialize(Self)
            }

            fn end(self) -> Found {
                Ok(())
            }
        }
    )* };
}

elements! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

macro_rules! fields {
    ($($trait:ident),*) => { $(
        impl $trait for Finder {
            type Ok = ();
            type Error = NotFinite;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Found {
                value.serialize(Self).map_err(|found| found.within(name))
            }

            fn end(self) -> Found {
                Ok(())
            }
        }
    )* };
}

fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Finder {
    type Ok = ();
    type Error = NotFinite;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _key: &T) -> Found {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Found {
        value.serialize(Self)
    }

    fn end(self) -> Found {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::find_not_finite;

    #[derive(serde::Serialize)]
    struct Outer {
        name: Option<String>,
        inner: Vec<Inner>,
        by_name: BTreeMap<String, f32>,
    }

    #[derive(serde::Serialize)]
    struct Inner {
        weight: Option<f64>,
    }

    fn outer(weight: f64, other: f32) -> Outer {
        let inner = vec![Inner { weight: None }, Inner { weight: Some(weight) }];
        Outer { name: None, inner, by_name: BTreeMap::from([("a".to_owned(), other)]) }
    }

    #[test]
    fn a_number_that_is_not_finite_is_found_wherever_it_is() {
        assert_eq!(find_not_finite(&outer(1.5, 0.0)), None);
        for weight in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(find_not_finite(&outer(weight, 0.0)).as_deref(), Some("inner.weight"));
        }
        assert_eq!(find_not_finite(&outer(1.5, f32::NAN)).as_deref(), Some("by_name"));
        assert_eq!(find_not_finite(&(1, f64::NAN)).as_deref(), Some("(a number)"));
    }
}
