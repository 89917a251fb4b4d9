//! The record's JSON Schema, embedded.

/// JSON Schema (YAML, draft 2020-12) of a cursor record: ours, or the existing producer's.
pub const CURSOR_SCHEMA: &str = include_str!("../../../contracts/cursor.schema.yaml");

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::CURSOR_SCHEMA;
    use crate::conformance::{cursor, key};
    use crate::record::Wire;
    use crate::{Cursor, OrderPosition};

    fn is_valid(record: &Value) -> bool {
        let schema: Value = serde_yaml::from_str(CURSOR_SCHEMA).unwrap();
        jsonschema::draft202012::options()
            .build(&schema)
            .unwrap()
            .is_valid(record)
    }

    fn record(order: OrderPosition) -> Value {
        let cursor = Cursor {
            order,
            ..cursor("a", 5)
        };
        let wire = Wire::new(
            &key("schema", "o"),
            &cursor,
            1,
            1,
            "2026-01-01T00:00:00Z".to_owned(),
        );
        serde_json::from_str(&wire.to_json()).unwrap()
    }

    #[test]
    fn our_records_and_the_existing_producers_are_valid() {
        assert!(is_valid(&record(OrderPosition::AsWritten)));
        assert!(is_valid(&record(OrderPosition::EventTime {
            sort_time_ns: -1
        })));
        let mut foreign = record(OrderPosition::AsWritten);
        foreign.as_object_mut().unwrap().retain(|name, _| {
            (name.starts_with("last_") && name != "last_part")
                || ["pack_key", "output_id", "updated_at_utc"].contains(&name.as_str())
        });
        assert!(is_valid(&foreign));
    }

    #[test]
    fn a_half_ours_or_contradictory_record_is_not_valid() {
        let mut half = record(OrderPosition::AsWritten);
        half.as_object_mut().unwrap().remove("fence");
        assert!(!is_valid(&half));
        let changes = [
            ("sort_time_ns", json!("5")),
            ("more", json!(1)),
            ("format_version", json!(4)),
            ("format_version", json!(1)),
            ("last_row_index", json!(-1)),
            ("pack_key", json!("x")),
        ];
        for (field, value) in changes {
            let mut wrong = record(OrderPosition::AsWritten);
            wrong[field] = value;
            assert!(!is_valid(&wrong), "{field}");
        }
    }
}
