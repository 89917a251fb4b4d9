//! The engine's output catalogue.
#![no_main]

use oracle_store::{Catalogue, OutputId, from_yaml};
use serde_json::json;
use serde_yaml::Value;
use wsp_fuzz::{is_refusal, sha256_hex, yaml};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let document = from_yaml::<Value>(bytes);
    if let Ok(document) = &document {
        yaml::hides_nothing(document);
    }
    match Catalogue::parse(bytes) {
        Ok(catalogue) => {
            assert_eq!(catalogue.digest().as_str(), sha256_hex(bytes));
            let document = match document {
                // A key of another component may occur twice: nobody here reads it.
                Err(error) if error.to_string().contains("duplicate") => return,
                document => document.expect("it is accepted, and no YAML"),
            };
            let outputs = yaml::entries(&document, "outputs").expect("a list of outputs");
            assert_eq!(outputs.len(), catalogue.outputs().len());
            for (entry, output) in catalogue.outputs().iter().zip(outputs) {
                assert!(
                    yaml::says(output, "output_id", entry.output_id.as_str()),
                    "{output:?}"
                );
                // The restriction is spelled out, and it is the one that is there.
                let gates = &entry.read_requires_gates;
                assert!(
                    yaml::lists(output, "read_requires_gates", gates),
                    "{output:?}"
                );
                let found = catalogue
                    .output(&entry.output_id)
                    .expect("it is found by its id");
                assert!(std::ptr::eq(found, entry), "an id names one output");
            }
            assert!(
                catalogue
                    .output(&OutputId::new("no such output \0"))
                    .is_none()
            );
            written_again(&catalogue);
        }
        Err(error) => is_refusal(&error, &["CATALOGUE_UNREADABLE"]),
    }
});

fn written_again(catalogue: &Catalogue) {
    let outputs: Vec<_> = catalogue
        .outputs()
        .iter()
        .map(|entry| {
            json!({
                "output_id": entry.output_id, "class": entry.class,
                "path_template": entry.path_template, "primary_key": entry.primary_key,
                "read_requires_gates": entry.read_requires_gates,
                "partitions": entry.partitions, "scope": entry.scope,
                "availability": entry.availability,
            })
        })
        .collect();
    let text = serde_yaml::to_string(&json!({ "outputs": outputs })).expect("YAML");
    let again = Catalogue::parse(text.as_bytes()).expect("written again");
    assert_eq!(
        format!("{:?}", again.outputs()),
        format!("{:?}", catalogue.outputs())
    );
}
