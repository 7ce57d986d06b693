//! One event out of one line in one pass, without an intermediate value. Works where `ev` comes before the fields of
//! its kind, as every SDK sends it; `parse` takes the rest.
//!
//! Must not depend on what becomes of an event.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer,
    MapAccess, VariantAccess, Visitor,
};

use crate::event::kind::{Event, PROTOCOL, Stamped};

/// An event that was parsed the quick way.
pub(super) struct Quick(pub(super) Stamped);

/// The fields that every event has.
#[derive(Default)]
struct Head {
    v: Option<u64>,
    seq: Option<u64>,
    t: Option<f64>,
    at: Option<f64>,
}

impl Head {
    /// Takes the value of `key` if it is one of the head's; returns the name of another.
    fn take<'de, M: MapAccess<'de>>(
        &mut self,
        key: Key<'de>,
        map: &mut M,
    ) -> Result<Option<Cow<'de, str>>, M::Error> {
        match key {
            Key::V => self.v = Some(map.next_value()?),
            Key::Seq => self.seq = Some(map.next_value()?),
            Key::T => self.t = Some(map.next_value()?),
            Key::At => self.at = Some(map.next_value()?),
            Key::Other(name) => return Ok(Some(name)),
        }
        Ok(None)
    }

    fn stamp<E: de::Error>(self, event: Event) -> Result<Stamped, E> {
        match (self.v, self.seq, self.t) {
            (Some(PROTOCOL), Some(seq), Some(t)) if t >= 0.0 => {
                Ok(Stamped { at: self.at, seq, t, event })
            }
            _ => Err(E::custom("incomplete")),
        }
    }
}

impl<'de> Deserialize<'de> for Quick {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(QuickVisitor)
    }
}

struct QuickVisitor;

impl<'de> Visitor<'de> for QuickVisitor {
    type Value = Quick;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Quick, M::Error> {
        let mut head = Head::default();
        while let Some(key) = map.next_key()? {
            match head.take(key, &mut map)?.as_deref() {
                None => continue,
                Some("ev") => {}
                Some(_) => return Err(M::Error::custom("`ev` is late")),
            }
            let Text(kind) = map.next_value()?;
            let rest = Rest { map, head: &mut head };
            let event = Event::deserialize(KindDeserializer { kind, rest })?;
            return head.stamp(event).map(Quick);
        }
        Err(M::Error::custom("no `ev`"))
    }
}

/// The name of a field: one of the head's, or another.
enum Key<'a> {
    V,
    Seq,
    T,
    At,
    Other(Cow<'a, str>),
}

impl<'a> Key<'a> {
    fn of(name: impl Into<Cow<'a, str>>) -> Key<'a> {
        let name = name.into();
        match name.as_bytes() {
            b"v" => Key::V,
            b"seq" => Key::Seq,
            b"t" => Key::T,
            b"at" => Key::At,
            _ => Key::Other(name),
        }
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(Key::of(name))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(Key::of(name.to_owned()))
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What follows `ev`: fields of the kind, between which those of the head are taken out.
struct Rest<'h, M> {
    map: M,
    head: &'h mut Head,
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Rest<'_, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, M::Error> {
        while let Some(key) = self.map.next_key()? {
            if let Some(name) = self.head.take(key, &mut self.map)? {
                return seed.deserialize(CowStrDeserializer::new(name)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, M::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Shows serde the flat line as the enum that it derived: a variant's name and its fields.
struct KindDeserializer<'de, 'h, M> {
    kind: Cow<'de, str>,
    rest: Rest<'h, M>,
}

impl<'de, M: MapAccess<'de>> Deserializer<'de> for KindDeserializer<'de, '_, M> {
    type Error = M::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, M::Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, 'h, M: MapAccess<'de>> EnumAccess<'de> for KindDeserializer<'de, 'h, M> {
    type Error = M::Error;
    type Variant = Rest<'h, M>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Rest<'h, M>), M::Error> {
        Ok((seed.deserialize(self.kind.into_deserializer())?, self.rest))
    }
}

impl<'de, M: MapAccess<'de>> VariantAccess<'de> for Rest<'_, M> {
    type Error = M::Error;

    fn unit_variant(self) -> Result<(), M::Error> {
        IgnoredAny.visit_map(self).map(drop)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, M::Error> {
        seed.deserialize(MapAccessDeserializer::new(self))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, M::Error> {
        visitor.visit_map(self)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, M::Error> {
        visitor.visit_map(self)
    }
}
