//! One value of a tree as serde reads it.

use std::str::FromStr;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::diagnostic::Code;
use super::node::{Entry, Node, Value};
use super::reader::{Findings, Problem};

/// Reads one node, and what is below it, passing over what was taken out.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    node: &'a Node,
    findings: &'a Findings,
    depth: Depth,
}

/// Whether a node is the file as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Root,
    Below,
}

impl<'a> Reader<'a> {
    pub(super) fn root(node: &'a Node, findings: &'a Findings) -> Self {
        Self {
            node,
            findings,
            depth: Depth::Root,
        }
    }

    fn below(self, node: &'a Node) -> Self {
        Self {
            node,
            depth: Depth::Below,
            ..self
        }
    }

    fn keeps(self, node: &Node) -> bool {
        !self.findings.taken_out.contains(&node.id)
    }

    fn text(self, expected: &str) -> Result<&'a str, Problem> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            Value::Int(_) | Value::Float(_) => {
                let hint = "put it in quotes; a duration also needs a unit, such as \"30s\"";
                Err(Problem::wrong_type(expected, self.node).with_hint(hint))
            }
            Value::Bool(_) => {
                Err(Problem::wrong_type(expected, self.node).with_hint("put it in quotes"))
            }
            Value::Null | Value::List(_) | Value::Map(_) | Value::Assumed => {
                Err(Problem::wrong_type(expected, self.node))
            }
        }
    }

    /// The value that a text from `${...}` stands for, where another type belongs.
    fn interpolated<T: FromStr>(self) -> Option<T> {
        match (&self.node.value, &self.node.raw) {
            (Value::Text(text), Some(_)) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn whole(self, least: i128, most: i128) -> Result<i128, Problem> {
        let number = match self.node.value {
            Value::Int(number) => Some(number),
            Value::Null
            | Value::Bool(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Assumed => self.interpolated(),
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(number) => {
                let expected = match number {
                    ..0 if least == 0 => "a whole number, not negative".to_owned(),
                    ..0 => format!("a whole number of at least {least}"),
                    0.. => format!("a whole number of at most {most}"),
                };
                let mut problem = Problem::wrong_type(&expected, self.node);
                problem.code = Code::InvalidValue;
                Err(problem)
            }
            None => {
                let hint = self.unquoted(|text| text.parse::<i128>().is_ok());
                let hint = hint.unwrap_or("write it in digits alone, without quotes or a unit");
                Err(Problem::wrong_type("a whole number", self.node).with_hint(hint))
            }
        }
    }

    /// The hint for a text that would fit if it were not one.
    fn unquoted(self, fits: impl Fn(&str) -> bool) -> Option<&'static str> {
        let Value::Text(text) = &self.node.value else {
            return None;
        };
        fits(text).then_some("write it without quotes")
    }

    fn entries(self, known: Option<&'static [&'static str]>) -> Result<Entries<'a>, Problem> {
        let entries: &[Entry] = match &self.node.value {
            Value::Map(entries) => entries,
            Value::Assumed => &[],
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_) => return Err(Problem::wrong_type("a map of keys", self.node)),
        };
        let assumed = match self.depth {
            Depth::Root => self.findings.assumed.iter().copied().collect(),
            Depth::Below => Vec::new(),
        };
        Ok(Entries {
            reader: self,
            rest: entries,
            known,
            assumed,
            current: None,
        })
    }
}

macro_rules! whole {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
            let number = self.whole(<$type>::MIN.into(), <$type>::MAX.into())?;
            // The range was just checked.
            visitor.$visit(<$type>::try_from(number).unwrap_or_default())
        }
    )*};
}

impl<'a> Deserializer<'a> for Reader<'a> {
    type Error = Problem;

    whole!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    );

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(number) => visitor.visit_i128(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) | Value::Assumed => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        let value = match self.node.value {
            Value::Bool(value) => Some(value),
            Value::Null
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Assumed => self.interpolated(),
        };
        if let Some(value) = value {
            return visitor.visit_bool(value);
        }
        let mut problem = Problem::wrong_type("`true` or `false`", self.node);
        let hint = self.unquoted(|text| matches!(text, "true" | "false"));
        problem.hint = hint.map(str::to_owned);
        Err(problem)
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        let number = match self.node.value {
            Value::Int(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            Value::Null
            | Value::Bool(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Assumed => self.interpolated(),
        };
        match number.filter(|number: &f64| number.is_finite()) {
            Some(number) => visitor.visit_f64(number),
            None => Err(Problem::wrong_type("a number", self.node)),
        }
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_borrowed_str(self.text("text")?)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Assumed => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        let items: &[Node] = match &self.node.value {
            Value::List(items) => items,
            Value::Assumed => &[],
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Map(_) => return Err(Problem::wrong_type("a list", self.node)),
        };
        visitor.visit_seq(Items {
            reader: self,
            rest: items,
        })
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_map(self.entries(None)?)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_map(self.entries(Some(fields))?)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Text(name) => visitor.visit_enum(Choice {
                reader: self,
                name,
                payload: None,
            }),
            Value::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Choice {
                    reader: self,
                    name: &entry.key,
                    payload: Some(&entry.value),
                }),
                _ => Err(Problem::wrong_type("a map with exactly one key", self.node)),
            },
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Assumed => {
                let expected = format!("one of {}", super::suggest::list(variants));
                Err(Problem::wrong_type(&expected, self.node))
            }
        }
    }

    serde::forward_to_deserialize_any! {
        <W: Visitor<'a>>
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct ignored_any
    }
}

/// The items of a list that are left.
struct Items<'a> {
    reader: Reader<'a>,
    rest: &'a [Node],
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        while let [item, rest @ ..] = self.rest {
            self.rest = rest;
            if self.reader.keeps(item) {
                let value = seed.deserialize(self.reader.below(item));
                return value.map(Some).map_err(|problem| problem.at(item));
            }
        }
        Ok(None)
    }
}

/// The entries of a map that are left.
struct Entries<'a> {
    reader: Reader<'a>,
    rest: &'a [Entry],
    /// The keys of a struct; a map of names has none.
    known: Option<&'static [&'static str]>,
    assumed: Vec<&'static str>,
    current: Option<&'a Node>,
}

/// Read in place of a required section that is missing.
static ASSUMED: Node = Node {
    id: u32::MAX,
    span: 0..0,
    value: Value::Assumed,
    raw: None,
    veiled: false,
};

impl Entries<'_> {
    /// `limits:` with every line below it commented out says nothing: as if it were not there.
    fn says_something(&self, entry: &Entry) -> bool {
        let known = self
            .known
            .is_some_and(|keys| keys.contains(&entry.key.as_str()));
        !(known && entry.value.value == Value::Null)
    }
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        while let [entry, rest @ ..] = self.rest {
            self.rest = rest;
            if self.reader.keeps(&entry.value) && self.says_something(entry) {
                self.current = Some(&entry.value);
                let key: StrDeserializer<'a, Problem> = entry.key.as_str().into_deserializer();
                let key = seed.deserialize(key);
                let place =
                    |problem: Problem| problem.at_key(entry.key_span.clone(), entry.value.id);
                return key.map(Some).map_err(place);
            }
        }
        let Some(assumed) = self.assumed.pop() else {
            return Ok(None);
        };
        self.current = Some(&ASSUMED);
        let key: StrDeserializer<'_, Problem> = assumed.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let Some(node) = self.current.take() else {
            return Err(Problem::new(
                Code::Syntax,
                "a value was asked for without its key",
            ));
        };
        let value = seed.deserialize(self.reader.below(node));
        value.map_err(|problem| problem.at(node))
    }
}

/// One of several forms: a name, or a name with a value.
struct Choice<'a> {
    reader: Reader<'a>,
    name: &'a str,
    payload: Option<&'a Node>,
}

impl<'a> EnumAccess<'a> for Choice<'a> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Problem> {
        let name: StrDeserializer<'a, Problem> = self.name.into_deserializer();
        let variant = seed.deserialize(name).map_err(|p| p.at(self.reader.node))?;
        Ok((variant, self))
    }
}

impl<'a> VariantAccess<'a> for Choice<'a> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        if self.payload.is_none() {
            return Ok(());
        }
        let message = format!("`{}` takes no value", self.name);
        Err(Problem::new(Code::WrongType, message).with_hint(format!("write `{}`", self.name)))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Problem> {
        let Some(payload) = self.payload else {
            let message = format!("`{}` needs a value", self.name);
            let hint = format!("write `{{ {}: ... }}`", self.name);
            return Err(Problem::new(Code::WrongType, message).with_hint(hint));
        };
        // The whole choice is taken out, since it is nothing without its value.
        let place = |problem: Problem| problem.at_key(payload.place(), self.reader.node.id);
        seed.deserialize(self.reader.below(payload)).map_err(place)
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        let node = self.payload.unwrap_or(self.reader.node);
        self.reader.below(node).deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let node = self.payload.unwrap_or(self.reader.node);
        self.reader.below(node).deserialize_map(visitor)
    }
}
