//! JSON objects that name each field once.
//!
//! Where a field stands twice, readers differ in which one they take. Evidence
//! that can be read in two ways is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// The fields of one JSON object, each named once.
pub(crate) struct Object<V>(BTreeMap<String, V>);

impl<V> Object<V> {
    pub(crate) fn get(&self, field: &str) -> Option<&V> {
        self.0.get(field)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Object<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Fields<V> {
    type Value = Object<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((field, value)) = map.next_entry::<String, V>()? {
            if fields.contains_key(&field) {
                return Err(A::Error::custom(format!("field `{field}` stands twice")));
            }
            fields.insert(field, value);
        }
        Ok(Object(fields))
    }
}
